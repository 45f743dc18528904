using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Auth;

/// <summary>Settings under <c>Hosting</c>.</summary>
public sealed class HostingOptions
{
    public const string Section = "Hosting";

    /// <summary>
    /// The path under which a proxy serves the app, such as <c>/apps/images</c>; all links and image addresses begin with it. Default none.
    /// A proxy that removes it from the path says so in <c>X-Forwarded-Prefix</c>, or need not say so at all.
    /// </summary>
    [RegularExpression(
        "^(/[^/?#\\s]+)*$", ErrorMessage = "Hosting:PathBase must begin with a slash and not end with one, such as /apps/images.")]
    public string PathBase { get; set; } = "";
}
