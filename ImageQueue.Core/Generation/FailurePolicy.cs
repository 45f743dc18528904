using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>Decides, in this one place, what each failure means for the request.</summary>
public sealed class FailurePolicy(MessageTexts texts, IOptions<ForgeOptions> options)
{
    /// <summary>What to do about a failure.</summary>
    /// <param name="failure">What was thrown while painting or storing.</param>
    /// <param name="tries">How many times the request has been begun, this time included.</param>
    public FailureDecision Decide(Exception failure, int tries) => failure switch
    {
        // The server's fault, not the request's: it keeps its turn and waits for a healthy one.
        ForgeException { Failure: ForgeFailure.Unavailable or ForgeFailure.Gpu or ForgeFailure.Interrupted } when tries < options.Value.MaxAttempts => FailureDecision.TryAgain,
        ForgeException forge => FailureDecision.Fail(forge.Failure switch
        {
            ForgeFailure.Unavailable or ForgeFailure.Gpu or ForgeFailure.Interrupted => new(ErrorCodes.BackendFailed, texts.BackendKeepsFailing(tries)),
            ForgeFailure.Timeout => new(ErrorCodes.TimedOut, texts.TimedOut(options.Value.Timeout)),
            ForgeFailure.Stalled => new(ErrorCodes.Stalled, texts.TimedOut(options.Value.StallTimeout)),
            ForgeFailure.Rejected => new(ErrorCodes.Rejected, texts.Rejected(forge.Reason)),
            ForgeFailure.OutOfMemory => new(ErrorCodes.OutOfMemory, texts.OutOfMemory),
            ForgeFailure.Failed or ForgeFailure.WrongModel => new(ErrorCodes.BackendFailed, texts.ForgeFailed(forge.Reason)),
            ForgeFailure.BadImage => new(ErrorCodes.BadImage, texts.BadImage),
            _ => new(ErrorCodes.Unexpected, texts.Unexpected),
        }),
        IOException or UnauthorizedAccessException => FailureDecision.Fail(new(ErrorCodes.NotStored, texts.ImageNotStored)),
        _ => FailureDecision.Fail(new(ErrorCodes.Unexpected, texts.Unexpected)),
    };

    /// <summary>No server was healthy for <see cref="ForgeOptions.WaitForBackend"/>.</summary>
    public FailureDecision NoBackend() => FailureDecision.Fail(new(ErrorCodes.NoBackend, texts.NoBackend(options.Value.WaitForBackend ?? TimeSpan.Zero)));
}

/// <summary>What to do about a failure.</summary>
/// <param name="Failure">How the request ends in error; null when it is tried again.</param>
public readonly record struct FailureDecision(RequestFailure? Failure)
{
    /// <summary>Wait for a healthy server and begin again.</summary>
    public static FailureDecision TryAgain => default;

    /// <summary>End in error.</summary>
    public static FailureDecision Fail(RequestFailure failure) => new(failure);
}

/// <summary>An image request has ended in error; thrown so that Hangfire calls its job Failed. The message row says the same.</summary>
public sealed class ImageRequestFailedException(string sentence, Exception? inner = null) : Exception(sentence, inner);
