using System.Globalization;
using System.Text;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;
using Microsoft.AspNetCore.Routing.Patterns;

namespace ImageQueue.Web.Api;

/// <summary>
/// A conversation's id in a path: percent-decoded once and whole, so that it is the same text as in the hub and in the database.
/// What cannot be an id is refused with 422.
/// </summary>
[AttributeUsage(AttributeTargets.Parameter)]
internal sealed class ConversationIdAttribute : ModelBinderAttribute
{
    /// <summary>The route's and the documents' name of it.</summary>
    public const string ParameterName = "conversation_id";

    public ConversationIdAttribute()
        : base(typeof(Binder))
    {
        Name = ParameterName;
        BindingSource = BindingSource.Path;
    }

    /// <summary>What is wrong with an id, as a sentence; null when nothing is.</summary>
    public static string? Problem(string? id)
    {
        var rules = new RequestRules();
        rules.Name(ParameterName, id ?? "");
        return rules.Errors.Values.FirstOrDefault()?[0];
    }

    private sealed class Binder : IModelBinder
    {
        public Task BindModelAsync(ModelBindingContext bindingContext)
        {
            var id = ConversationPath.IdOf(bindingContext.HttpContext);
            var problem = id is null ? $"{ParameterName} is not valid UTF-8; percent-encode its UTF-8 bytes." : Problem(id);
            if (problem is null)
                bindingContext.Result = ModelBindingResult.Success(id);
            else
                bindingContext.ModelState.TryAddModelException(ParameterName, new UnprocessableException(problem));
            return Task.CompletedTask;
        }
    }
}

/// <summary>Reads a conversation's id from the request line itself.</summary>
/// <remarks>
/// The server decodes a path before it routes, but leaves <c>%2F</c> as it is, and with it the difference between <c>%2F</c>
/// and <c>%252F</c>; it leaves what is no UTF-8 as well (Kestrel, UrlDecoder).
/// </remarks>
internal static class ConversationPath
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The id that the path names; null when that is no text at all, or the route has none.</summary>
    public static string? IdOf(HttpContext context)
    {
        if (context.GetRouteValue(ConversationIdAttribute.ParameterName) is not string routed || context.GetEndpoint() is not RouteEndpoint { RoutePattern: var pattern })
            return null;
        var place = pattern.PathSegments.TakeWhile(segment => segment.Parts is not [RoutePatternParameterPart { Name: ConversationIdAttribute.ParameterName }]).Count();
        var mounted = context.Request.PathBase.Value?.Count(c => c == '/') ?? 0;
        var segments = PathOf(context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "").Trim('/').Split('/');
        // A path that the server has shortened ("/./") is not worth more than what the server made of it.
        return segments.Length == mounted + pattern.PathSegments.Count
            ? Decode(segments[mounted + place])
            : routed.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The path of a request line, also of one with a host in it, as proxies may send.</summary>
    private static string PathOf(string target)
    {
        var host = target.IndexOf("://", StringComparison.Ordinal);
        if (host >= 0 && !target.StartsWith('/'))
            target = target.IndexOf('/', host + 3) is var slash and >= 0 ? target[slash..] : "";
        var end = target.IndexOfAny(['?', '#']);
        return end < 0 ? target : target[..end];
    }

    private static string? Decode(string segment)
    {
        var bytes = new List<byte>(segment.Length);
        for (var i = 0; i < segment.Length; i++)
        {
            if (segment[i] == '%' && i + 2 < segment.Length
                && byte.TryParse(segment.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            {
                bytes.Add(value);
                i += 2;
            }
            else
            {
                bytes.Add((byte)segment[i]); // A request line is ASCII; the server has refused any other.
            }
        }

        try
        {
            return Strict.GetString([.. bytes]);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}
