using Microsoft.AspNetCore.Http.Features;

namespace ImageQueue.Web.Errors;

/// <summary>How much a request may send.</summary>
internal static class BodyLimit
{
    /// <summary>Of the calls of ImageQueue's own API that take JSON.</summary>
    public const int Bytes = 64 * 1024;

    /// <summary>Says how much the endpoint that was called takes.</summary>
    public static string SentenceOf(HttpContext context) =>
        context.Features.Get<IHttpMaxRequestBodySizeFeature>()?.MaxRequestBodySize is { } bytes
            ? $"The body is larger than {(bytes < 1024 * 1024 ? $"{bytes / 1024} KiB" : $"{bytes / 1024 / 1024} MiB")}; send less."
            : "The body is too large; send less.";
}
