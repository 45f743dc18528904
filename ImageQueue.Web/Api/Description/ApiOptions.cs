namespace ImageQueue.Web.Api.Description;

/// <summary>Settings under <c>Api</c>.</summary>
public sealed class ApiOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Api";

    /// <summary>Whether <c>/docs</c> shows the API's description as a page to try it on. Default: in Development.</summary>
    public bool? Docs { get; set; }
}
