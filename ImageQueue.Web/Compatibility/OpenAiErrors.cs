using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Compatibility;

/// <summary>Errors as OpenAI's API has them: <c>{"error": {"message", "type", "param", "code"}}</c>.</summary>
/// <remarks>https://platform.openai.com/docs/guides/error-codes</remarks>
internal sealed class OpenAiErrors : IProblemShape
{
    private const string InvalidRequestType = "invalid_request_error";

    public bool Covers(PathString path) => path.StartsWithSegments(OpenAiEndpoints.Path);

    public object ToBody(ProblemDetails problem, HttpResponse response)
    {
        var (status, type, code) = Of(problem);
        if (!response.HasStarted)
        {
            response.StatusCode = status;
            // OpenAI's clients send a 5xx again twice, and with it the whole generation, unless this says no.
            if (problem.Extensions.ContainsKey(FailedImage.Extension))
                response.Headers["x-should-retry"] = "false";
        }

        var fields = problem.Extensions.TryGetValue("errors", out var errors) ? errors as IReadOnlyDictionary<string, string[]> : null;
        return new OpenAiErrorBody(new(problem.Detail ?? problem.Title, type, fields?.Keys.FirstOrDefault(), code));
    }

    private static (int Status, string Type, string Code) Of(ProblemDetails problem)
    {
        var status = problem.Status ?? StatusCodes.Status500InternalServerError;
        var code = problem.Extensions.TryGetValue("code", out var value)
            ? value as string ?? ProblemCodes.Unexpected
            : ProblemCodes.Unexpected;
        return status switch
        {
            StatusCodes.Status401Unauthorized => (status, InvalidRequestType, "invalid_api_key"),
            StatusCodes.Status404NotFound when code == ProblemCodes.UnknownModel => (status, InvalidRequestType, "model_not_found"),
            StatusCodes.Status422UnprocessableEntity => (StatusCodes.Status400BadRequest, InvalidRequestType, code),
            StatusCodes.Status429TooManyRequests => (status, "requests", "rate_limit_exceeded"),
            >= 500 => (status, "server_error", code),
            _ => (status, InvalidRequestType, code),
        };
    }
}

/// <summary>The body of an error.</summary>
internal sealed record OpenAiErrorBody(OpenAiError Error);

/// <summary>An error as OpenAI's clients read it.</summary>
internal sealed record OpenAiError(string? Message, string Type, string? Param, string? Code);

/// <summary>A request of a call that ended without an image, as a problem.</summary>
internal static class FailedImage
{
    /// <summary>Marks a problem that is the end of a request, and not a reason to send it again.</summary>
    public const string Extension = "error_code";

    /// <summary>
    /// The problem of a message without an image: it ended in error, was cancelled or erased, or its image is kept no longer.
    /// </summary>
    public static ProblemException Of(Message message)
    {
        var (status, code) = message.ErrorCode switch
        {
            _ when message.Status == MessageStatus.Complete => (StatusCodes.Status404NotFound, ProblemCodes.NotFound),
            _ when message.Status != MessageStatus.Error => (StatusCodes.Status409Conflict, MessageStatus.Cancelled),
            ErrorCodes.Rejected or ErrorCodes.OutOfMemory => (StatusCodes.Status422UnprocessableEntity, message.ErrorCode),
            ErrorCodes.NoBackend => (StatusCodes.Status503ServiceUnavailable, message.ErrorCode),
            var other => (StatusCodes.Status500InternalServerError, other ?? ErrorCodes.Unexpected),
        };
        var detail = message.Status switch
        {
            MessageStatus.Error => message.Error,
            MessageStatus.Complete => "The image is no longer kept. Send the call with another Idempotency-Key.",
            _ => "The request was cancelled before its image was there.",
        };
        var problem = ApiProblem.Of(ProblemCodes.OfStatus(status), detail ?? "", status: status);
        problem.Extensions["code"] = code;
        problem.Extensions[Extension] = code;
        return new ProblemException(problem);
    }
}
