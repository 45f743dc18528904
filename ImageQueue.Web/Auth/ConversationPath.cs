using System.Net;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing.Patterns;

namespace ImageQueue.Web.Auth;

/// <summary>Reads a conversation's id from the request line itself.</summary>
/// <remarks>
/// Kestrel decodes a path before routing but leaves <c>%2F</c> as it is, and so the difference between <c>%2F</c> and
/// <c>%252F</c> is lost; it leaves invalid UTF-8 undecoded as well (Kestrel, UrlDecoder).
/// </remarks>
internal static class ConversationPath
{
    /// <summary>The id's name in routes and documents.</summary>
    public const string ParameterName = "conversation_id";

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The id in the path; null when it is not valid UTF-8, or the route has none.</summary>
    public static string? IdOf(HttpContext context)
    {
        if (context.GetRouteValue(ParameterName) is not string routed
            || context.GetEndpoint() is not RouteEndpoint { RoutePattern: var pattern })
        {
            return null;
        }

        var place = pattern.PathSegments.TakeWhile(
            segment => segment.Parts is not [RoutePatternParameterPart { Name: ParameterName }]).Count();
        var mounted = context.Request.PathBase.Value?.Count(c => c == '/') ?? 0;
        var segments = PathOf(context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "").Trim('/').Split('/');
        // A proxy may have taken the path base out. Kestrel has normalized a path such as "/./": then its own decoding has to do.
        var id = segments.Length == pattern.PathSegments.Count || segments.Length == mounted + pattern.PathSegments.Count
            ? Decode(segments[segments.Length - pattern.PathSegments.Count + place])
            : routed.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
        return id is null ? null : StoredName.Normalize(id);
    }

    /// <summary>The path of a request line, also of the absolute form that proxies may send.</summary>
    private static string PathOf(string target)
    {
        var host = target.IndexOf("://", StringComparison.Ordinal);
        if (host >= 0 && !target.StartsWith('/'))
            target = target.IndexOf('/', host + 3) is var slash and >= 0 ? target[slash..] : "";
        var end = target.IndexOfAny(['?', '#']);
        return end < 0 ? target : target[..end];
    }

    /// <summary>Percent-decoded; a plus sign is no blank in a path. Null when it is not valid UTF-8.</summary>
    private static string? Decode(string segment)
    {
        // A request line is ASCII; Kestrel has refused any other.
        var bytes = Encoding.Latin1.GetBytes(segment.Replace("+", "%2B", StringComparison.Ordinal));
        try
        {
            return Strict.GetString(WebUtility.UrlDecodeToBytes(bytes, 0, bytes.Length)!); // Null only for null.
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}
