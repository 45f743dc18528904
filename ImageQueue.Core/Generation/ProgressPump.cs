using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>Asks Forge how far a picture is, and writes that and a heartbeat into its row, until it is told to stop.</summary>
public sealed class ProgressPump(IForgeClient forge, IMessageStore store, IOptions<ForgeOptions> options, TimeProvider time, ILogger<ProgressPump> logger)
{
    /// <summary>A step this large is stored at once; smaller ones once in <see cref="SaveInterval"/>.</summary>
    private const int SaveStep = 10;

    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);

    /// <summary>How often the row hears that the worker is alive when nothing moves.</summary>
    internal static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(10);

    /// <summary>Runs until cancelled, or until there is a reason to stop painting.</summary>
    /// <returns>Why painting should stop.</returns>
    public async Task<PumpEnd> RunAsync(ForgeBackend backend, string taskId, Message message, CancellationToken cancellationToken)
    {
        var (percent, saved, savedAt) = (0, 0, time.GetTimestamp());
        var (fraction, movedAt) = ((double?)null, time.GetTimestamp());
        while (true)
        {
            await Task.Delay(options.Value.PollInterval, time, cancellationToken);

            var progress = await AskAsync(backend, taskId, message, cancellationToken);
            // Only a task that Forge calls active can be stuck: waiting for Forge's lock is somebody else's painting.
            if (progress.State != ForgeTaskState.Active || progress.Fraction != fraction)
                (fraction, movedAt) = (progress.Fraction, time.GetTimestamp());
            else if (time.GetElapsedTime(movedAt) >= options.Value.StallTimeout)
                return PumpEnd.Stalled;

            percent = Math.Max(percent, Percent(progress));
            var sinceSave = time.GetElapsedTime(savedAt);
            if (percent - saved < SaveStep && (percent == saved || sinceSave < SaveInterval) && sinceSave < HeartbeatInterval)
                continue;
            if (!await SaveAsync(message, percent, cancellationToken))
                return PumpEnd.LostRow;
            (saved, savedAt) = (percent, time.GetTimestamp());
        }
    }

    /// <summary>1 when it has begun, 99 when Forge is done sampling: 0 belongs to waiting, 100 to the picture itself.</summary>
    private static int Percent(ForgeProgress progress) => progress is { State: ForgeTaskState.Active, Fraction: { } fraction }
        ? Math.Clamp((int)(1 + (98 * fraction)), 1, 99)
        : 0;

    private async Task<ForgeProgress> AskAsync(ForgeBackend backend, string taskId, Message message, CancellationToken cancellationToken)
    {
        try
        {
            return await forge.GetProgressAsync(backend, taskId, withPreview: false, cancellationToken);
        }
        catch (ForgeException e)
        {
            // The outcome is never taken from progress: the painting call itself finds out when the server is gone.
            logger.LogDebug(e, "No progress for message {MessageId} from {Backend}.", message.Id, backend.Name);
            return new ForgeProgress(ForgeTaskState.Unknown);
        }
    }

    private async Task<bool> SaveAsync(Message message, int percent, CancellationToken cancellationToken)
    {
        try
        {
            return (await store.SaveProgressAsync(message.Id, message.Attempt, percent, cancellationToken)).Applied;
        }
        catch (StoreUnavailableException e)
        {
            logger.LogWarning(e, "Progress of message {MessageId} could not be stored; painting goes on.", message.Id);
            return true;
        }
    }
}

/// <summary>Why painting should stop.</summary>
public enum PumpEnd
{
    /// <summary>Nothing has moved for <see cref="ForgeOptions.StallTimeout"/>.</summary>
    Stalled,

    /// <summary>The row is no longer this attempt's: cancelled, or given to another worker.</summary>
    LostRow,
}
