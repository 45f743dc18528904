namespace ImageQueue.Core.Forge;

/// <summary>The few kinds that Forge's many oddities come down to. <c>FailurePolicy</c> decides what each means.</summary>
public enum ForgeFailure
{
    /// <summary>Refused, reset, 502, 503, 504, or its API is not up (404): the server is at fault, not the request.</summary>
    Unavailable,

    /// <summary>No answer within <see cref="ForgeOptions.Timeout"/>.</summary>
    Timeout,

    /// <summary>No progress within <see cref="ForgeOptions.StallTimeout"/>.</summary>
    Stalled,

    /// <summary>4xx: Forge does not take the request, and says why.</summary>
    Rejected,

    /// <summary>500 of a GPU without enough memory.</summary>
    OutOfMemory,

    /// <summary>Any other 500 or error body.</summary>
    Failed,

    /// <summary>200, but no image in it, or bytes that do not decode, or an answer cut short.</summary>
    BadImage,
}

/// <summary>Something went wrong at Forge.</summary>
/// <param name="failure">Which kind.</param>
/// <param name="reason">What Forge said, in its words, when it said something; else what was seen. For logs and for the user.</param>
/// <param name="inner">The cause.</param>
public sealed class ForgeException(ForgeFailure failure, string reason, Exception? inner = null)
    : Exception($"Forge: {failure}: {reason}", inner)
{
    /// <summary>Which kind.</summary>
    public ForgeFailure Failure { get; } = failure;

    /// <summary>What Forge said, in its words, when it said something; else what was seen.</summary>
    public string Reason { get; } = reason;
}
