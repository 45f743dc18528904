using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>RFC 9457 problem details with a <c>detail</c> that says what to do.</summary>
internal static class ApiProblem
{
    /// <summary>A problem of the given status.</summary>
    /// <param name="status">The HTTP status.</param>
    /// <param name="detail">A sentence for the caller.</param>
    /// <param name="errors">Field to sentences, where several fields are wrong.</param>
    public static ProblemDetails Of(int status, string detail, IReadOnlyDictionary<string, string[]>? errors = null)
    {
        var problem = new ProblemDetails
        {
            Status = status,
            Title = Title(status),
            Type = $"https://www.rfc-editor.org/rfc/rfc9110#{Section(status)}",
            Detail = detail,
        };
        if (errors is { Count: > 0 })
            problem.Extensions["errors"] = errors;
        return problem;
    }

    /// <summary>The same with a code that programs can tell it by.</summary>
    public static ProblemDetails WithCode(this ProblemDetails problem, string code)
    {
        problem.Extensions["code"] = code;
        return problem;
    }

    /// <summary>The same as an MVC result.</summary>
    public static ObjectResult Result(int status, string detail, IReadOnlyDictionary<string, string[]>? errors = null) =>
        new(Of(status, detail, errors)) { StatusCode = status, ContentTypes = { "application/problem+json" } };

    /// <summary>422: the request is well-formed, but not allowed.</summary>
    public static ObjectResult Unprocessable(IReadOnlyDictionary<string, string[]> errors) =>
        Result(StatusCodes.Status422UnprocessableEntity, string.Join(' ', errors.Values.SelectMany(sentences => sentences)), errors);

    /// <summary>Gives the framework's own problems a sentence as well: no endpoint there, not that method, not that media type.</summary>
    public static void Complete(ProblemDetailsContext context)
    {
        var problem = context.ProblemDetails;
        var request = context.HttpContext.Request;
        problem.Extensions.Remove("traceId");
        problem.Detail ??= problem.Status switch
        {
            StatusCodes.Status404NotFound => $"There is nothing at {request.Path}. The API is described at /openapi/v1.json.",
            StatusCodes.Status405MethodNotAllowed => $"{request.Path} does not take {request.Method}. The API is described at /openapi/v1.json.",
            StatusCodes.Status415UnsupportedMediaType => "Send a JSON object, and say so: Content-Type: application/json.",
            _ => "The request could not be answered. The API is described at /openapi/v1.json.",
        };
    }

    private static string Title(int status) => Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status);

    private static string Section(int status) => status switch
    {
        StatusCodes.Status400BadRequest => "section-15.5.1",
        StatusCodes.Status403Forbidden => "section-15.5.4",
        StatusCodes.Status404NotFound => "section-15.5.5",
        StatusCodes.Status409Conflict => "section-15.5.10",
        StatusCodes.Status413PayloadTooLarge => "section-15.5.14",
        StatusCodes.Status422UnprocessableEntity => "section-15.5.21",
        StatusCodes.Status503ServiceUnavailable => "section-15.6.4",
        >= 500 => "section-15.6",
        _ => "section-15.5",
    };
}
