using Hangfire;
using ImageQueue.Core.Requests;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Web.Errors;

/// <summary>Maps exceptions to problem details: the one place where an exception gets its HTTP status.</summary>
internal sealed class ProblemExceptionHandler(ILogger<ProblemExceptionHandler> logger) : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext context, Exception exception, CancellationToken cancellationToken)
    {
        if (exception is OperationCanceledException && context.RequestAborted.IsCancellationRequested)
        {
            context.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var problem = ToProblem(exception, context);
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
        try
        {
            await ApiProblem.WriteAsync(context, problem);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone; thrown on, this would be logged as a fault of the handler's.
        }

        return true;
    }

    private static ProblemDetails ToProblem(Exception exception, HttpContext context) => exception switch
    {
        ProblemException e => e.Problem,
        MessageNotFoundException e => ApiProblem.Of(
            ProblemCodes.NotFound, $"{e.Message}. Check the id: the answer to the request that made the message has it."),
        ConversationDeletedException e => ApiProblem.Of(ProblemCodes.ConversationErased, e.Message),
        ConversationForbiddenException e => ApiProblem.Of(ProblemCodes.ConversationForbidden, e.Message),
        InvalidMetadataPatchException or DocumentTooLargeException => ApiProblem.Of(
            ProblemCodes.InvalidRequest, exception.Message, "extra_metadata", StatusCodes.Status422UnprocessableEntity),
        UnknownModelException e => ApiProblem.Of(ProblemCodes.UnknownModel, e.Message),
        SourceException e => OfSource(e),
        UploadRefusedException e => ApiProblem.Of(CodeOf(e.Why), e.Message),
        IdempotencyKeyReusedException e => ApiProblem.Of(ProblemCodes.IdempotencyKeyReused, e.Message),
        TooManyPendingException e => ApiProblem.Of(e.IsOfAll ? ProblemCodes.QueueFull : ProblemCodes.TooManyPending, e.Message),
        StoreUnavailableException e => ApiProblem.Of(ProblemCodes.StoreUnavailable, $"{e.Message} Try again later."),
        BackgroundJobClientException or SqlException => ApiProblem.Of(
            ProblemCodes.StoreUnavailable, "The job queue's database cannot be reached. Try again later."),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } =>
            ApiProblem.Of(ProblemCodes.BodyTooLarge, BodyLimit.SentenceOf(context)),
        DecoderFallbackException => ApiProblem.Of(
            ProblemCodes.InvalidRequest, "The body is not in the encoding that its Content-Type names. Send JSON in UTF-8."),
        BadHttpRequestException e => ApiProblem.Of(
            ProblemCodes.OfStatus(e.StatusCode), "The request broke off or is malformed; send it again, whole.", status: e.StatusCode),
        _ => ApiProblem.Of(ProblemCodes.Unexpected, "Something unexpected went wrong here; it has been logged. Try again later."),
    };

    private static ProblemDetails OfSource(SourceException e) => e.Problem switch
    {
        SourceProblem.NotFound => ApiProblem.Of(ProblemCodes.SourceNotFound, e.Message, e.Field),
        SourceProblem.NotReady => ApiProblem.Of(ProblemCodes.SourceNotReady, e.Message, e.Field),
        SourceProblem.Unsupported => ApiProblem.Of(ProblemCodes.UnsupportedSource, e.Message, e.Field),
        _ => ApiProblem.Of(ProblemCodes.InvalidRequest, e.Message, e.Field, StatusCodes.Status422UnprocessableEntity),
    };

    private static string CodeOf(UploadRefusal why) => why switch
    {
        UploadRefusal.TooLarge => ProblemCodes.UploadTooLarge,
        UploadRefusal.Type => ProblemCodes.UnsupportedMediaType,
        _ => ProblemCodes.InvalidImage,
    };

    private static TimeSpan? RetryAfter(Exception exception) => exception switch
    {
        TooManyPendingException e => e.RetryAfter,
        StoreUnavailableException or BackgroundJobClientException or SqlException => TimeSpan.FromSeconds(5),
        _ => null,
    };
}
