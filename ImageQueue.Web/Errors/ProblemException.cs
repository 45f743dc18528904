using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>Ends a request with a problem, from wherever that is known.</summary>
internal sealed class ProblemException(ProblemDetails problem) : Exception(problem.Detail)
{
    public ProblemException(int status, string code, string detail, string? field = null)
        : this(ApiProblem.Of(status, code, detail, field))
    {
    }

    public ProblemDetails Problem => problem;
}
