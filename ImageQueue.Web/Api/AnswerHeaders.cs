using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

internal static class AnswerHeaders
{
    public static void AddHeaders(this HttpResponse response, bool isReplay, TimeSpan waited)
    {
        if (isReplay)
            response.Headers[IdempotencyKeyAttribute.ReplayedHeaderName] = "true";
        if (waited > TimeSpan.Zero)
            response.Headers["Preference-Applied"] = string.Create(CultureInfo.InvariantCulture, $"wait={waited.TotalSeconds:0}");
    }

    /// <summary>A file whose bytes never change; without a path 404.</summary>
    public static IActionResult ImmutableFile(this ControllerBase controller, string? path, string contentType, string whyNot)
    {
        if (path is null)
            return ApiProblem.Result(ProblemCodes.NotFound, whyNot);
        controller.Response.Headers.CacheControl = "private, max-age=31536000, immutable";
        return controller.PhysicalFile(path, contentType, enableRangeProcessing: true);
    }
}
