using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>
/// Decides, in this one place, what each failure means: whether the request ends or goes on with its turn, whether it counts as
/// the request's own, and what is to be thought of the server. No request pays for a bad server.
/// </summary>
/// <remarks>The table of design 7. What Forge said is for logs and operators; users get a sentence of ours.</remarks>
public sealed class FailurePolicy(MessageTexts texts, IOptions<ForgeOptions> options)
{
    /// <summary>No configured server can serve what the request asks for.</summary>
    public RequestFailure NoSuitableBackend => new(ErrorCodes.NoBackend, texts.NoSuitableBackend);

    /// <summary>No server was healthy for <see cref="ForgeOptions.WaitForBackend"/>.</summary>
    /// <param name="waited">That time.</param>
    public RequestFailure NoBackend(TimeSpan waited) => new(ErrorCodes.NoBackend, texts.NoBackend(waited));

    /// <summary>Whatever generated it died, too often.</summary>
    public RequestFailure Abandoned(int failures) => new(ErrorCodes.Abandoned, texts.Abandoned(failures));

    /// <summary>What to do about a failure.</summary>
    /// <param name="failure">What was thrown while generating or storing.</param>
    /// <param name="message">The claimed row, with the failures that count so far.</param>
    public FailureDecision Decide(Exception failure, Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return failure switch
        {
            // The server's fault alone: it is left alone until it is well, and the request goes to another.
            ForgeException { Failure: ForgeFailure.Unavailable or ForgeFailure.Disrupted or ForgeFailure.GatewayTimeout } =>
                FailureDecision.GoOn(ServerVerdict.Down, isBlamed: false),

            // Either's fault: once more, elsewhere if there is an elsewhere.
            ForgeException { Failure: ForgeFailure.Failed } => OnceMore(ErrorCodes.BackendFailed, texts.ForgeFailed),
            ForgeException { Failure: ForgeFailure.BadImage } => OnceMore(ErrorCodes.BadImage, texts.BadImage),
            ForgeException { Failure: ForgeFailure.BlackImage } => OnceMore(ErrorCodes.BadImage, texts.BlackImage),
            ForgeException { Failure: ForgeFailure.WrongModel } => OnceMore(ErrorCodes.BackendFailed, texts.WrongModel),

            // Somebody at Forge's own page; it may happen again.
            ForgeException { Failure: ForgeFailure.Interrupted } when message.Failures + 1 < options.Value.MaxAttempts =>
                FailureDecision.GoOn(ServerVerdict.Fine, isBlamed: true),
            ForgeException { Failure: ForgeFailure.Interrupted } => End(ErrorCodes.BackendFailed, texts.Interrupted),

            // Whatever goes on there is drained before the server gets another request.
            ForgeException { Failure: ForgeFailure.Timeout } => End(ErrorCodes.TimedOut, texts.TimedOut(options.Value.Timeout)),
            ForgeException { Failure: ForgeFailure.Stalled } => End(ErrorCodes.Stalled, texts.Stalled(options.Value.StallTimeout)),

            // The request's own.
            ForgeException { Failure: ForgeFailure.Rejected, Refusal: { } refusal } =>
                End(ErrorCodes.Rejected, texts.Refused(refusal.Field, refusal.Value, refusal.Choices)),
            ForgeException { Failure: ForgeFailure.Rejected } => End(ErrorCodes.Rejected, texts.Rejected),
            ForgeException { Failure: ForgeFailure.OutOfMemory } => End(ErrorCodes.OutOfMemory, texts.OutOfMemory),

            // Ours.
            IOException or UnauthorizedAccessException => End(ErrorCodes.NotStored, texts.ImageNotStored),
            _ => End(ErrorCodes.Unexpected, texts.Unexpected),
        };

        FailureDecision OnceMore(string code, string sentence) => message.Failures == 0
            ? FailureDecision.GoOn(ServerVerdict.Doubtful, isBlamed: true)
            : End(code, sentence) with { Server = ServerVerdict.Doubtful };
    }

    private static FailureDecision End(string code, string sentence) => new(new RequestFailure(code, sentence), ServerVerdict.Fine, IsBlamed: true);
}

/// <summary>What to do about a failure.</summary>
/// <param name="End">How the request ends in error; null when it goes on with its turn.</param>
/// <param name="Server">What is to be thought of the server.</param>
/// <param name="IsBlamed">Whether it counts among the request's own failures.</param>
public readonly record struct FailureDecision(RequestFailure? End, ServerVerdict Server, bool IsBlamed)
{
    /// <summary>Begin again, elsewhere if there is an elsewhere.</summary>
    public static FailureDecision GoOn(ServerVerdict server, bool isBlamed) => new(null, server, isBlamed);
}

/// <summary>What is to be thought of a server.</summary>
public enum ServerVerdict
{
    /// <summary>It did as it should.</summary>
    Fine,

    /// <summary>It may be at fault: when several requests in a row fail there that others generate, it is.</summary>
    Doubtful,

    /// <summary>It is at fault: left alone until it is well.</summary>
    Down,
}
