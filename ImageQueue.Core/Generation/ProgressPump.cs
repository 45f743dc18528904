using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>Polls Forge for an attempt's progress, and writes it, a heartbeat and the live preview.</summary>
internal sealed class ProgressPump(
    IForgeClient forge,
    IMessageStore store,
    ImageFiles images,
    IOptions<ForgeOptions> options,
    TimeProvider time,
    ILogger<ProgressPump> logger)
{
    /// <summary>A step this large is stored at once; smaller ones once in <see cref="SaveInterval"/>.</summary>
    private const int SaveStep = 10;

    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);

    /// <summary>
    /// A fraction above this is of sampling: until then the model loads, which shows no progress and is no stall
    /// (Forge's <c>progress.py</c>: 0.01 + step / steps).
    /// </summary>
    private const double FirstStep = 0.0101;

    /// <summary>Runs until cancelled, or until there is a reason to stop generating.</summary>
    /// <param name="clock">Restarted while the task still waits in the backend's own queue.</param>
    /// <returns>Why generating should stop: timed out, stalled, or superseded.</returns>
    public async Task<AttemptOutcome> RunAsync(Attempt attempt, GenerationClock clock, CancellationToken cancellationToken)
    {
        var (backend, message) = (attempt.Reservation.Backend, attempt.Message);
        var (percent, saved, savedAt) = (0, 0, time.GetTimestamp());
        var (fraction, movedAt) = ((double?)null, time.GetTimestamp());
        using var preview = new LivePreview(images, message, options.Value.LivePreview, time, logger);
        while (true)
        {
            await Task.Delay(options.Value.PollInterval, time, cancellationToken);

            var progress = await AskAsync(backend, attempt.TaskId, message, preview.IsDue, cancellationToken);
            if (progress.State == ForgeTaskState.Queued)
                clock.Restart();
            else if (clock.Elapsed >= options.Value.Timeout)
                return Failed(ForgeFailure.Timeout, $"{backend.Name} has been generating for {options.Value.Timeout} without an answer");

            // Only a task that samples can be stuck: loading a model takes its time without a sign of life.
            if (progress.State != ForgeTaskState.Active || progress.Fraction is not > FirstStep || progress.Fraction != fraction)
                (fraction, movedAt) = (progress.Fraction, time.GetTimestamp());
            else if (time.GetElapsedTime(movedAt) >= options.Value.StallTimeout)
                return Failed(ForgeFailure.Stalled, $"{backend.Name} made no progress for {options.Value.StallTimeout}");

            preview.Take(progress);
            if (preview is { HasNews: true, IsNamed: false } && !await NameAsync(message, preview, cancellationToken))
                return new AttemptOutcome(AttemptResult.Superseded);

            percent = Math.Max(percent, Percent(progress));
            var sinceSave = time.GetElapsedTime(savedAt);
            var hasMoved = percent != saved || preview.HasNews;
            if (percent - saved < SaveStep && (!hasMoved || sinceSave < SaveInterval) && sinceSave < Heartbeat.Interval)
                continue;
            if (!await SaveAsync(message, percent, cancellationToken))
                return new AttemptOutcome(AttemptResult.Superseded);
            (saved, savedAt) = (percent, time.GetTimestamp());
            preview.HasNews = false; // Every write makes an event, and a client that gets one loads the preview again.
        }
    }

    private static AttemptOutcome Failed(ForgeFailure failure, string reason) =>
        new(AttemptResult.Failed, new ForgeException(failure, reason));

    /// <summary>1 when it has started, 99 when Forge is done sampling: 0 belongs to waiting, 100 to the image itself.</summary>
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
            // The outcome never comes from progress: the generating call itself finds out when the server is gone.
            logger.LogDebug(e, "No progress for message {MessageId} from {Backend}.", message.Id, backend.Name);
            return new ForgeProgress(ForgeTaskState.Unknown);
        }
    }

    /// <summary>Stores the preview's address once there is a preview.</summary>
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
