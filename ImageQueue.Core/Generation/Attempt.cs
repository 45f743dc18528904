using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>One attempt at one request on one backend.</summary>
/// <param name="Run">The Hangfire job's run.</param>
/// <param name="Message">The claimed row.</param>
/// <param name="Reservation">Where to generate. Free again as soon as Forge answers, or when what was left there is over.</param>
internal sealed record Attempt(GenerateImageJob.Run Run, Message Message, BackendReservation Reservation)
{
    /// <summary>What the row asks for.</summary>
    public required GenerationRequest Request { get; init; }

    /// <summary>
    /// One per attempt: Forge remembers finished tasks by name, and must not take this one for an earlier one. The lease's note says the
    /// same.
    /// </summary>
    public string TaskId { get; } = Message.JobId is { } jobId
        ? FormattableString.Invariant($"{jobId}-{Message.Attempt}")
        : throw new InvalidOperationException($"Message {Message.Id} has no job_id.");
}
