namespace ImageQueue.Web.Api.Description;

internal sealed class ApiOptions
{
    public const string Section = "Api";

    /// <summary>Whether <c>/docs</c> shows the API's description as a page to try it on. Default: in Development.</summary>
    public bool? Docs { get; set; }
}
