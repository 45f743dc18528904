using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>Ends a request with a problem, from wherever that is known.</summary>
internal sealed class ProblemException(ProblemDetails problem) : Exception(problem.Detail)
{
    public ProblemException(string code, string detail, string? field = null, int? status = null)
        : this(ApiProblem.Of(code, detail, field, status))
    {
    }

    public ProblemDetails Problem => problem;
}
