using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Errors;

/// <summary>Says in the API's description which problems a call may answer with.</summary>
/// <param name="status">The HTTP status.</param>
/// <param name="codes">Those of <see cref="ProblemCodes"/> that come with it.</param>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method, AllowMultiple = true)]
internal sealed class ProblemAttribute(int status, params string[] codes)
    : ProducesResponseTypeAttribute(typeof(Problem), status, ApiProblem.ContentType)
{
    public IReadOnlyList<string> Codes { get; } = codes;
}

/// <summary>Problem details (RFC 9457): the members of every problem.</summary>
public sealed record Problem
{
    /// <summary><c>/problems/{code}</c>.</summary>
    public required string Type { get; init; }

    /// <summary>The same for every problem of this code.</summary>
    public required string Title { get; init; }

    /// <summary>The HTTP status.</summary>
    public required int Status { get; init; }

    /// <summary>A sentence that says what to do.</summary>
    public required string Detail { get; init; }

    /// <summary>Stable code of the problem, for programs.</summary>
    public required string Code { get; init; }

    /// <summary>Also in the log: quote it to the operators.</summary>
    public required string TraceId { get; init; }

    /// <summary>Field to sentences, where fields are wrong.</summary>
    public IReadOnlyDictionary<string, string[]>? Errors { get; init; }
}
