using Hangfire;
using ImageQueue.Core.Requests;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Web.Errors;

/// <summary>Maps exceptions to problem details: the one place where an exception gets its HTTP status.</summary>
internal sealed class ProblemExceptionHandler(IProblemDetailsService problems, ILogger<ProblemExceptionHandler> logger) : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext context, Exception exception, CancellationToken cancellationToken)
    {
        if (exception is OperationCanceledException && context.RequestAborted.IsCancellationRequested)
        {
            context.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var problem = ToProblem(exception);
        if (problem.Status == StatusCodes.Status503ServiceUnavailable)
        {
            logger.LogWarning(
                exception, "{Method} {Path} was refused: {Detail} ({TraceId})", context.Request.Method, context.Request.Path,
                problem.Detail, ApiProblem.TraceIdOf(context));
        }
        else if (problem.Status >= 500)
        {
            logger.LogError(
                exception, "{Method} {Path} failed ({TraceId}).", context.Request.Method, context.Request.Path,
                ApiProblem.TraceIdOf(context));
        }

        if (RetryAfter(exception) is { } wait)
            context.Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        context.Response.StatusCode = problem.Status ?? StatusCodes.Status500InternalServerError;
        try
        {
            // A caller that does not take problems (Accept: text/html) gets one all the same: not handled, it would be logged as a fault.
            var written = new ProblemDetailsContext { HttpContext = context, ProblemDetails = problem, Exception = exception };
            if (!await problems.TryWriteAsync(written))
                await Results.Problem(problem).ExecuteAsync(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone; thrown on, this would be logged as a fault of the handler's.
        }

        return true;
    }

    private static ProblemDetails ToProblem(Exception exception) => exception switch
    {
        ProblemException e => e.Problem,
        MessageNotFoundException e => ApiProblem.Of(
            StatusCodes.Status404NotFound, ProblemCodes.NotFound,
            $"{e.Message}. Check the id: the answer to the request that made the message has it."),
        ConversationDeletedException e => ApiProblem.Of(StatusCodes.Status410Gone, ProblemCodes.ConversationErased, e.Message),
        ConversationForbiddenException e => ApiProblem.Of(StatusCodes.Status403Forbidden, ProblemCodes.ConversationForbidden, e.Message),
        InvalidMetadataPatchException or DocumentTooLargeException => ApiProblem.Of(
            StatusCodes.Status422UnprocessableEntity, ProblemCodes.InvalidRequest, exception.Message, "extra_metadata"),
        UnknownModelException e => ApiProblem.Of(StatusCodes.Status422UnprocessableEntity, ProblemCodes.UnknownModel, e.Message),
        SourceException e => OfSource(e),
        UploadRefusedException e => OfUpload(e),
        IdempotencyKeyReusedException e =>
            ApiProblem.Of(StatusCodes.Status422UnprocessableEntity, ProblemCodes.IdempotencyKeyReused, e.Message),
        TooManyPendingException e => ApiProblem.Of(
            StatusCodes.Status429TooManyRequests, e.IsOfAll ? ProblemCodes.QueueFull : ProblemCodes.TooManyPending, e.Message),
        StoreUnavailableException e => ApiProblem.Of(
            StatusCodes.Status503ServiceUnavailable, ProblemCodes.StoreUnavailable, $"{e.Message} Nothing was changed; try again later."),
        BackgroundJobClientException or SqlException => ApiProblem.Of(
            StatusCodes.Status503ServiceUnavailable, ProblemCodes.StoreUnavailable,
            "The job queue's database cannot be reached. Try again later."),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } =>
            ApiProblem.Of(StatusCodes.Status413PayloadTooLarge, ProblemCodes.BodyTooLarge, BodyLimit.Sentence),
        DecoderFallbackException => ApiProblem.Of(
            StatusCodes.Status400BadRequest, ProblemCodes.InvalidRequest,
            "The body is not in the encoding that its Content-Type names. Send JSON in UTF-8."),
        BadHttpRequestException e => ApiProblem.Of(
            e.StatusCode, ProblemCodes.OfStatus(e.StatusCode), "The request broke off or is malformed; send it again, whole."),
        _ => ApiProblem.Of(
            StatusCodes.Status500InternalServerError, ProblemCodes.Unexpected,
            "Something unexpected went wrong here; it has been logged. Try again later."),
    };

    private static ProblemDetails OfSource(SourceException e)
    {
        var (status, code) = e.Problem switch
        {
            SourceProblem.NotFound => (StatusCodes.Status404NotFound, ProblemCodes.SourceNotFound),
            SourceProblem.NotReady => (StatusCodes.Status409Conflict, ProblemCodes.SourceNotReady),
            SourceProblem.Unsupported => (StatusCodes.Status422UnprocessableEntity, ProblemCodes.UnsupportedSource),
            _ => (StatusCodes.Status422UnprocessableEntity, ProblemCodes.InvalidRequest),
        };
        return ApiProblem.Of(status, code, e.Message, e.Field);
    }

    private static ProblemDetails OfUpload(UploadRefusedException e)
    {
        var (status, code) = e.Why switch
        {
            UploadRefusal.TooLarge => (StatusCodes.Status413PayloadTooLarge, ProblemCodes.UploadTooLarge),
            UploadRefusal.Type => (StatusCodes.Status415UnsupportedMediaType, ProblemCodes.UnsupportedMediaType),
            _ => (StatusCodes.Status400BadRequest, ProblemCodes.InvalidImage),
        };
        return ApiProblem.Of(status, code, e.Message);
    }

    private static TimeSpan? RetryAfter(Exception exception) => exception switch
    {
        TooManyPendingException e => e.RetryAfter,
        StoreUnavailableException or BackgroundJobClientException or SqlException => TimeSpan.FromSeconds(5),
        _ => null,
    };
}
