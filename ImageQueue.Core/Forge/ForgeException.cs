namespace ImageQueue.Core.Forge;

/// <summary>The few kinds that Forge's many oddities come down to. <c>FailurePolicy</c> decides what each means.</summary>
public enum ForgeFailure
{
    /// <summary>
    /// Refused, reset, TLS, 401, 403, 407, 408, 425, 429, 502, 503, 504, 52x, a page where JSON belongs, or its API is not up
    /// (404): the server is at fault, or what stands before it, and not the request.
    /// </summary>
    Unavailable,

    /// <summary>500 of a GPU that has failed (CUDA or HIP error, device-side assert): the server is at fault until it is restarted.</summary>
    Gpu,

    /// <summary>No answer within <see cref="ForgeOptions.Timeout"/>.</summary>
    Timeout,

    /// <summary>No progress within <see cref="ForgeOptions.StallTimeout"/>.</summary>
    Stalled,

    /// <summary>400, 422, Forge's own 404, or a sampler that it replaced by another: Forge does not take the request, and says why.</summary>
    Rejected,

    /// <summary>500 of a GPU without enough memory.</summary>
    OutOfMemory,

    /// <summary>Any other 500 or error body.</summary>
    Failed,

    /// <summary>200, but no image in it, or bytes that do not decode, or an answer cut short.</summary>
    BadImage,

    /// <summary>200 with a picture without any colour: the model's numbers became NaN.</summary>
    BlackImage,

    /// <summary>Somebody else interrupted or skipped it: the picture is half done.</summary>
    Interrupted,

    /// <summary>It was painted by another model than was asked for.</summary>
    WrongModel,
}

/// <summary>Something went wrong at Forge.</summary>
/// <param name="failure">Which kind.</param>
/// <param name="reason">What Forge said, in its words, when it said something; else what was seen. For logs and operators, never for a user.</param>
/// <param name="inner">The cause.</param>
public sealed class ForgeException(ForgeFailure failure, string reason, Exception? inner = null)
    : Exception($"Forge: {failure}: {reason}", inner)
{
    /// <summary>Which kind.</summary>
    public ForgeFailure Failure { get; } = failure;

    /// <summary>What Forge said, in its words, when it said something; else what was seen. For logs and operators, never for a user.</summary>
    public string Reason { get; } = reason;

    /// <summary>
    /// Whether the server may go on painting all the same: no answer of its own came, but a broken connection or the impatience
    /// of a proxy.
    /// </summary>
    public bool MayGoOn { get; init; }

    /// <summary>Which field of the request is at fault, where that is known: enough for a sentence to the user.</summary>
    public ForgeRefusal? Refusal { get; init; }
}

/// <summary>A field that a server does not take as it was asked.</summary>
/// <param name="Field">By its name in the request, such as sampler.</param>
/// <param name="Value">What was asked.</param>
/// <param name="Choices">What it does take; empty when that is not known.</param>
public sealed record ForgeRefusal(string Field, string Value, IReadOnlyList<string> Choices);
