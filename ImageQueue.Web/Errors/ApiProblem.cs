using System.Diagnostics;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>
/// RFC 9457 problem details: a <c>detail</c> that says what to do, a <c>code</c> for programs, a <c>type</c> made of it, and the
/// <c>trace_id</c> that the log has too.
/// </summary>
internal static class ApiProblem
{
    public const string ContentType = "application/problem+json";

    private const string Code = "code";
    private const string Errors = "errors";
    private const string TraceId = "trace_id";

    /// <param name="code">One of <see cref="ProblemCodes"/>.</param>
    /// <param name="detail">A sentence for the caller.</param>
    /// <param name="field">The field that the sentence is about; null or empty: none.</param>
    /// <param name="status">Null: the code's own.</param>
    public static ProblemDetails Of(string code, string detail, string? field = null, int? status = null)
    {
        var problem = new ProblemDetails { Status = status ?? ProblemCodes.StatusOf(code), Detail = detail };
        SetCode(problem, code);
        if (!string.IsNullOrEmpty(field))
            problem.Extensions[Errors] = new Dictionary<string, string[]>(StringComparer.Ordinal) { [field] = [detail] };
        return problem;
    }

    /// <summary>The same as an MVC result.</summary>
    public static IActionResult Result(string code, string detail, string? field = null, int? status = null) =>
        new ProblemResult(Of(code, detail, field, status));

    /// <summary>422: the request is well-formed, but not allowed.</summary>
    public static IActionResult Unprocessable(IReadOnlyDictionary<string, string[]> errors) => new ProblemResult(Unprocessed(errors));

    /// <summary>The same as a problem.</summary>
    /// <param name="errors">Field to sentences; one at least.</param>
    public static ProblemDetails Unprocessed(IReadOnlyDictionary<string, string[]> errors)
    {
        var problem = Of(
            ProblemCodes.InvalidRequest, string.Join(' ', errors.Values.SelectMany(all => all)),
            status: StatusCodes.Status422UnprocessableEntity);
        problem.Extensions[Errors] = errors;
        return problem;
    }

    /// <summary>Writes a problem in the shape of the API that was called.</summary>
    public static Task WriteAsync(HttpContext context, ProblemDetails problem)
    {
        context.Response.StatusCode = problem.Status ?? StatusCodes.Status500InternalServerError;
        return context.RequestServices.GetRequiredService<IProblemDetailsService>()
            .WriteAsync(new ProblemDetailsContext { HttpContext = context, ProblemDetails = problem }).AsTask();
    }

    public static string TraceIdOf(HttpContext context) => Activity.Current?.TraceId.ToHexString() ?? context.TraceIdentifier;

    /// <summary>
    /// Completes every problem on its way out: those of the framework (no endpoint, wrong method, wrong media type) get a code and a
    /// sentence.
    /// </summary>
    public static void Complete(ProblemDetails problem, HttpContext context)
    {
        problem.Status ??= context.Response.StatusCode;
        if (!problem.Extensions.ContainsKey(Code))
        {
            SetCode(problem, ProblemCodes.OfStatus(problem.Status.Value));
            problem.Detail = Sentence(problem.Status.Value, context);
            problem.Extensions.Remove("traceId");
            problem.Extensions.Remove(Errors);
        }

        problem.Extensions[TraceId] = TraceIdOf(context);
    }

    private static string Sentence(int status, HttpContext context) => status switch
    {
        StatusCodes.Status401Unauthorized => "Send an API key: Authorization: Bearer <key>, or X-Api-Key.",
        StatusCodes.Status403Forbidden => "This key may not do that.",
        StatusCodes.Status404NotFound => $"There is nothing at {context.Request.Path}. The API is described at /openapi/v1.json.",
        StatusCodes.Status405MethodNotAllowed =>
            $"{context.Request.Path} does not take {context.Request.Method}. The API is described at /openapi/v1.json.",
        StatusCodes.Status413PayloadTooLarge => BodyLimit.SentenceOf(context),
        StatusCodes.Status415UnsupportedMediaType => HttpMethods.IsPatch(context.Request.Method)
            ? "Send a JSON merge patch, and say so: Content-Type: application/merge-patch+json."
            : "Send a JSON object, and say so: Content-Type: application/json.",
        StatusCodes.Status503ServiceUnavailable => "This cannot be answered just now. Try again later.",
        >= 500 => "Something unexpected went wrong here; it has been logged. Try again later.",
        _ => "The request could not be read. The API is described at /openapi/v1.json.",
    };

    private static void SetCode(ProblemDetails problem, string code)
    {
        problem.Type = $"/problems/{code}";
        problem.Title = ProblemCodes.Titles[code];
        problem.Extensions[Code] = code;
    }

    private sealed class ProblemResult(ProblemDetails problem) : IActionResult
    {
        public Task ExecuteResultAsync(ActionContext context) => WriteAsync(context.HttpContext, problem);
    }
}

/// <summary>Writes every problem as JSON, whatever the caller accepts: a sentence in JSON is better than none.</summary>
internal sealed class ProblemWriter : IProblemDetailsWriter
{
    public bool CanWrite(ProblemDetailsContext context) => true;

    public async ValueTask WriteAsync(ProblemDetailsContext context)
    {
        var http = context.HttpContext;
        var type = ProblemShapes.Find(http) is null ? ApiProblem.ContentType : "application/json";
        await http.Response.WriteAsJsonAsync(ProblemShapes.BodyOf(context.ProblemDetails, http), options: null, type, http.RequestAborted);
    }
}
