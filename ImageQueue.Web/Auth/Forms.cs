using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Reads the forms of the dashboard and <c>/login</c>, and refuses unreadable ones: Hangfire and antiforgery
/// throw at such a form, or at none (AspNetCoreDashboardRequest.GetFormValuesAsync), which would be a 500.
/// </summary>
internal static class Forms
{
    public const string Dashboard = "/hangfire";

    private static readonly PathString[] Pages = [Dashboard, "/login", "/logout"];

    /// <summary>Hangfire deletes or requeues as many jobs as one page shows: 5,000 at most. FormOptions allows 1,024.</summary>
    private const int MostValues = 10_000;

    private const int MostPaged = 1_000_000_000;

    /// <summary>Whether a request only reads; the dashboard polls its figures by POST.</summary>
    public static bool IsRead(HttpRequest request) =>
        HttpMethods.IsGet(request.Method)
            || HttpMethods.IsHead(request.Method)
            || request.Path.Equals($"{Dashboard}/stats", StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a page asks by itself, without a person: such a request does not prolong a sign-in.</summary>
    public static bool IsPoll(HttpRequest request) =>
        request.Path.StartsWithSegments($"{Dashboard}/live")
            || request.Path.Equals($"{Dashboard}/stats", StringComparison.OrdinalIgnoreCase)
            || (HttpMethods.IsGet(request.Method) && request.Path.StartsWithSegments("/api"));

    /// <summary>Hangfire's paging parameters; its storage throws when their sum exceeds an int.</summary>
    private static readonly string[] Paging = ["from", "count"];

    public static void UseForms(this IApplicationBuilder app) => app.UseWhen(
        context => Pages.Any(page => context.Request.Path.StartsWithSegments(page)),
        forms => forms.Use(async (context, next) =>
        {
            var request = context.Request;
            var isPost = HttpMethods.IsPost(request.Method);
            (int Status, string Detail)? refusal =
                !isPost && !HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method)
                    ? (StatusCodes.Status405MethodNotAllowed, $"{request.Path} does not take {request.Method}.")
                : isPost && !request.HasFormContentType && request.ContentLength is not (null or 0)
                    ? (StatusCodes.Status415UnsupportedMediaType,
                        "This takes forms only: Content-Type: application/x-www-form-urlencoded.")
                : !Paging.All(name => IsSmall(request.Query[name]))
                    ? (StatusCodes.Status400BadRequest, "from and count must be numbers that a list can have.")
                : await IsReadableAsync(context) ? null
                : (StatusCodes.Status400BadRequest, "The form cannot be read.");
            if (refusal is var (status, detail))
                await Refusal.WriteAsync(context, ProblemCodes.OfStatus(status), detail, status);
            else
                await next(context);
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
        catch (Exception e) when (e is InvalidDataException or IOException or ArgumentException
            && !context.RequestAborted.IsCancellationRequested)
        {
            return false;
        }
    }

    private static bool IsSmall(StringValues values) =>
        values is not [{ Length: > 0 } value, ..]
            || (int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number < MostPaged);
}
