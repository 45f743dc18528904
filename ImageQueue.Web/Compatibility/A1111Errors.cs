using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Compatibility;

/// <summary>Errors as A1111's API has them: FastAPI's <c>detail</c>, and the exception's own fields in a 500.</summary>
/// <remarks>A1111 <c>modules/api/api.py</c>, <c>api_middleware</c>; Forge's copy is the same.</remarks>
internal sealed class A1111Errors : IProblemShape
{
    public bool Covers(PathString path) =>
        path.StartsWithSegments(A1111Endpoints.Path) || path.StartsWithSegments(A1111Endpoints.InternalPath);

    public object ToBody(ProblemDetails problem, HttpResponse response)
    {
        var code = problem.Extensions.TryGetValue(FailedImage.Extension, out var value) ? value as string : null;
        var status = code == ErrorCodes.OutOfMemory
            ? StatusCodes.Status500InternalServerError
            : problem.Status ?? StatusCodes.Status500InternalServerError;
        if (!response.HasStarted)
            response.StatusCode = status;
        if (status >= StatusCodes.Status500InternalServerError)
        {
            // The type of Python's exception tells clients a lack of memory from other failures.
            var (error, errors) = code == ErrorCodes.OutOfMemory
                ? ("OutOfMemoryError", $"CUDA out of memory. {problem.Detail}")
                : (code ?? "Error", problem.Detail);
            return new { error, detail = "", body = "", errors };
        }

        return problem.Extensions.TryGetValue("errors", out var fields) && fields is IReadOnlyDictionary<string, string[]> sentences
            ? new
            {
                detail = sentences.SelectMany(field =>
                    field.Value.Select(msg => new { loc = (string[])["body", field.Key], msg, type = "value_error" })),
            }
            : new { detail = problem.Detail };
    }
}
