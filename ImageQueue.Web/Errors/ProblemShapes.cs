using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>Shows problems as another API shows its errors.</summary>
internal interface IProblemShape
{
    bool Covers(PathString path);

    /// <summary>The error's body. May change the status and the headers of an answer that has not started.</summary>
    /// <param name="problem">Complete: status, code and detail are there.</param>
    /// <param name="response">The answer.</param>
    object ToBody(ProblemDetails problem, HttpResponse response);
}

/// <summary>Chooses the shape of a problem by the path of its request.</summary>
internal static class ProblemShapes
{
    /// <summary>The body of a problem as the API shows it that was called.</summary>
    public static object BodyOf(ProblemDetails problem, HttpContext context)
    {
        ApiProblem.Complete(problem, context);
        return Find(context)?.ToBody(problem, context.Response) ?? problem;
    }

    /// <summary>The shape of the API that was called; null for ImageQueue's own.</summary>
    public static IProblemShape? Find(HttpContext context) =>
        context.RequestServices.GetServices<IProblemShape>().FirstOrDefault(shape => shape.Covers(context.Request.Path));
}
