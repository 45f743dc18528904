using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>
/// Asks Forge how far an image is, and writes that and a heartbeat into its row, until it is told to stop; and keeps what Forge
/// shows of it meanwhile.
/// </summary>
public sealed class ProgressPump(
    IForgeClient forge, IMessageStore store, ImageFiles images, IOptions<ForgeOptions> options, TimeProvider time, ILogger<ProgressPump> logger)
{
    /// <summary>A step this large is stored at once; smaller ones once in <see cref="SaveInterval"/>.</summary>
    private const int SaveStep = 10;

    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);

    /// <summary>
    /// A fraction above this is of sampling: until then the model is being loaded, which shows no progress and is no stall
    /// (Forge's <c>progress.py</c>: 0.01 + step / steps).
    /// </summary>
    private const double FirstStep = 0.0101;

    /// <summary>Runs until cancelled, or until there is a reason to stop generating.</summary>
    /// <param name="backend">Who generates.</param>
    /// <param name="taskId">By what name.</param>
    /// <param name="message">The claimed row.</param>
    /// <param name="clock">Told while the task still waits in the server's own line.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Why generating should stop.</returns>
    public async Task<PumpEnd> RunAsync(ForgeBackend backend, string taskId, Message message, GenerationClock clock, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(clock);
        var (percent, saved, savedAt) = (0, 0, time.GetTimestamp());
        var (fraction, movedAt) = ((double?)null, time.GetTimestamp());
        using var preview = new LivePreview(images, message, options.Value.LivePreview, time, logger);
        while (true)
        {
            await Task.Delay(options.Value.PollInterval, time, cancellationToken);

            var progress = await AskAsync(backend, taskId, message, preview.IsDue, cancellationToken);
            if (progress.State == ForgeTaskState.Queued)
                clock.NotYet();
            else if (clock.Elapsed >= options.Value.Timeout)
                return PumpEnd.TimedOut;

            // Only a task that samples can be stuck: loading a model takes its time without a sign of life.
            if (progress.State != ForgeTaskState.Active || progress.Fraction is not > FirstStep || progress.Fraction != fraction)
                (fraction, movedAt) = (progress.Fraction, time.GetTimestamp());
            else if (time.GetElapsedTime(movedAt) >= options.Value.StallTimeout)
                return PumpEnd.Stalled;

            preview.Take(progress);
            if (preview is { HasNews: true, IsNamed: false } && !await NameAsync(message, preview, cancellationToken))
                return PumpEnd.LostRow;

            percent = Math.Max(percent, Percent(progress));
            var sinceSave = time.GetElapsedTime(savedAt);
            var hasMoved = percent != saved || preview.HasNews;
            if (percent - saved < SaveStep && (!hasMoved || sinceSave < SaveInterval) && sinceSave < Heartbeat.Interval)
                continue;
            if (!await SaveAsync(message, percent, cancellationToken))
                return PumpEnd.LostRow;
            (saved, savedAt) = (percent, time.GetTimestamp());
            preview.HasNews = false; // Every write makes an event, and whoever gets one looks at the preview again.
        }
    }

    /// <summary>1 when it has begun, 99 when Forge is done sampling: 0 belongs to waiting, 100 to the image itself.</summary>
    private static int Percent(ForgeProgress progress) => progress is { State: ForgeTaskState.Active, Fraction: { } fraction }
        ? Math.Clamp((int)(1 + (98 * fraction)), 1, 99)
        : 0;

    private async Task<ForgeProgress> AskAsync(
        ForgeBackend backend, string taskId, Message message, bool withPreview, CancellationToken cancellationToken)
    {
        try
        {
            return await forge.GetProgressAsync(backend, taskId, withPreview, cancellationToken);
        }
        catch (ForgeException e)
        {
            // The outcome is never taken from progress: the generating call itself finds out when the server is gone.
            logger.LogDebug(e, "No progress for message {MessageId} from {Backend}.", message.Id, backend.Name);
            return new ForgeProgress(ForgeTaskState.Unknown);
        }
    }

    /// <summary>The row says where the preview is as soon as there is one, and until the attempt ends.</summary>
    /// <returns>False when the row is no longer this attempt's.</returns>
    private async Task<bool> NameAsync(Message message, LivePreview preview, CancellationToken cancellationToken)
    {
        var saved = await SaveAsync(message, () => store.SavePreviewAsync(message.Id, message.Attempt, preview.Url, cancellationToken));
        if (saved == true)
            (preview.IsNamed, preview.HasNews) = (true, false);
        return saved != false;
    }

    private async Task<bool> SaveAsync(Message message, int percent, CancellationToken cancellationToken) =>
        await SaveAsync(message, () => store.SaveProgressAsync(message.Id, message.Attempt, percent, cancellationToken)) != false;

    /// <returns>False when the row is no longer this attempt's; null when the database is away.</returns>
    private async Task<bool?> SaveAsync(Message message, Func<Task<Transition>> save)
    {
        try
        {
            return (await save()).Applied;
        }
        catch (StoreUnavailableException e)
        {
            logger.LogWarning(e, "Progress of message {MessageId} could not be stored; generating goes on.", message.Id);
            return null;
        }
    }
}

/// <summary>Why generating should stop.</summary>
public enum PumpEnd
{
    /// <summary>Nothing has moved for <see cref="ForgeOptions.StallTimeout"/>, though the image was begun.</summary>
    Stalled,

    /// <summary>It has been generated for <see cref="ForgeOptions.Timeout"/>.</summary>
    TimedOut,

    /// <summary>The row is no longer this attempt's: cancelled, or given to another worker.</summary>
    LostRow,
}
