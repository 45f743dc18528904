using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace ImageQueue.Web.Auth;

/// <summary>The endpoint takes a watcher's token as <c>access_token</c> too: browsers cannot set headers for it.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class TokenInAddressAttribute : Attribute;

/// <summary>
/// Takes <c>access_token</c> out of a request's address before anything else sees it, so that no log, trace or error can hold
/// it. It cannot be a middleware: the host logs the address before the first one runs.
/// </summary>
internal sealed class TokenInAddress(IServiceProvider services) : IHttpContextFactory
{
    private const string Name = "access_token";

    private readonly DefaultHttpContextFactory _inner = new(services);

    public static string? Of(HttpContext context) => context.Features.Get<Taken>()?.Token;

    public HttpContext Create(IFeatureCollection featureCollection)
    {
        if (featureCollection.Get<IHttpRequestFeature>() is { QueryString.Length: > 1 } request)
            Take(featureCollection, request);
        return _inner.Create(featureCollection);
    }

    public void Dispose(HttpContext httpContext) => _inner.Dispose(httpContext);

    private static void Take(IFeatureCollection features, IHttpRequestFeature request)
    {
        var all = QueryHelpers.ParseQuery(request.QueryString);
        if (!all.Remove(Name, out var tokens))
            return;
        features.Set(new Taken(tokens.ToString()));
        request.QueryString = QueryString.Create(all).Value ?? "";
        if (request.RawTarget.IndexOf('?', StringComparison.Ordinal) is >= 0 and var at)
            request.RawTarget = request.RawTarget[..at] + request.QueryString;
    }

    private sealed record Taken(string Token);
}
