using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Reads what is sent to the dashboard before Hangfire does, and refuses what cannot be read: Hangfire and its antiforgery check
/// throw at such a form, or at none (AspNetCoreDashboardRequest.GetFormValuesAsync), which would be a 500.
/// </summary>
internal static class DashboardForms
{
    /// <summary>Where the dashboard is.</summary>
    public const string Path = "/hangfire";

    /// <summary>Hangfire deletes or requeues as many jobs as one page shows, 500 at most.</summary>
    private const int MostValues = 1024;

    /// <summary>Whether a request changes nothing: it reads, or asks for the figures that each page asks for again and again by a form.</summary>
    public static bool IsLook(HttpRequest request) =>
        HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || request.Path.Equals($"{Path}/stats", StringComparison.OrdinalIgnoreCase);

    public static void UseDashboardForms(this IApplicationBuilder app) => app.UseWhen(
        context => context.Request.Path.StartsWithSegments(Path),
        dashboard => dashboard.Use(async (context, next) =>
        {
            var request = context.Request;
            var isPost = HttpMethods.IsPost(request.Method);
            if (!isPost && !HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method))
                await RefuseAsync(context, StatusCodes.Status405MethodNotAllowed, $"The dashboard does not take {request.Method}.");
            else if (isPost && !request.HasFormContentType && request.ContentLength is not (null or 0))
                await RefuseAsync(context, StatusCodes.Status415UnsupportedMediaType, "The dashboard takes forms only.");
            else if (await IsReadableAsync(context))
                await next(context);
            else
                await RefuseAsync(context, StatusCodes.Status400BadRequest, "The form cannot be read.");
        }));

    private static async Task<bool> IsReadableAsync(HttpContext context)
    {
        if (!context.Request.HasFormContentType)
        {
            context.Features.Set<IFormFeature>(new FormFeature(FormCollection.Empty));
            return true;
        }

        try
        {
            context.Features.Set<IFormFeature>(new FormFeature(context.Request, new FormOptions { ValueCountLimit = MostValues }));
            await context.Request.ReadFormAsync(context.RequestAborted);
            return true;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or ArgumentException && !context.RequestAborted.IsCancellationRequested)
        {
            return false;
        }
    }

    private static Task RefuseAsync(HttpContext context, int status, string detail) => Refusal.WriteAsync(
        context, status, status == StatusCodes.Status415UnsupportedMediaType ? "unsupported_media_type" : "invalid_request", detail);
}
