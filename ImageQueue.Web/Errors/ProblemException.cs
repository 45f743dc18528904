using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>Ends a request with a problem, from wherever that is known.</summary>
/// <param name="problem">The problem.</param>
internal sealed class ProblemException(ProblemDetails problem) : Exception(problem.Detail)
{
    /// <summary>The problem.</summary>
    public ProblemDetails Problem => problem;
}
