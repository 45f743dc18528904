using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>Polls Forge for an attempt's progress, and writes it, a heartbeat and the live preview.</summary>
internal sealed class ProgressPump(
    IForgeClient forge, IMessageStore store, ImageFiles images, IOptions<ForgeOptions> options, TimeProvider time,
    ILogger<ProgressPump> logger)
{
    /// <summary>A step this large is stored at once; smaller ones once in <see cref="SaveInterval"/>.</summary>
    private const int SaveStep = 10;

    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);

    /// <summary>Runs until cancelled, or until there is a reason to stop generating.</summary>
    /// <param name="clock">Restarted while the task waits in the backend's own queue or its model loads.</param>
    /// <returns>Why generating should stop: timed out, stalled, or superseded.</returns>
    public async Task<AttemptOutcome> RunAsync(Attempt attempt, GenerationClock clock, CancellationToken cancellationToken)
    {
        var (backend, message) = (attempt.Reservation.Backend, attempt.Message);
        var (percent, saved, savedAt) = (0, 0, time.GetTimestamp());
        var (fraction, movedAt, loadingSince) = ((double?)null, time.GetTimestamp(), time.GetTimestamp());
        using var preview = new LivePreview(images, message, options.Value.LivePreview, time, logger);
        while (true)
        {
            await Task.Delay(options.Value.PollInterval, time, cancellationToken);

            var progress = await AskAsync(backend, attempt.TaskId, message, preview.IsDue, cancellationToken);
            var limits = options.Value;
            if (progress.State == ForgeTaskState.Queued || progress.IsLoading)
                clock.Restart();
            if (!progress.IsLoading)
            {
                loadingSince = time.GetTimestamp();
            }
            else if (time.GetElapsedTime(loadingSince) >= limits.LoadTimeout)
            {
                return Failed(
                    ForgeFailure.Stalled, $"{backend.Name} has been loading a model for {limits.LoadTimeout}", limits.LoadTimeout);
            }

            if (clock.Elapsed >= limits.Timeout)
                return Failed(ForgeFailure.Timeout, $"{backend.Name} gave no answer within {limits.Timeout} of generating", limits.Timeout);

            // Only sampling can stall: loading a model shows no progress.
            if (progress.State != ForgeTaskState.Active || progress.Fraction is null || progress.IsLoading || progress.Fraction != fraction)
                (fraction, movedAt) = (progress.Fraction, time.GetTimestamp());
            else if (time.GetElapsedTime(movedAt) >= limits.StallTimeout)
                return Failed(ForgeFailure.Stalled, $"{backend.Name} made no progress for {limits.StallTimeout}", limits.StallTimeout);

            preview.Take(progress);
            if (preview is { HasNews: true, IsNamed: false })
            {
                var named = await SaveAsync(
                    message, () => store.SavePreviewAsync(message.Id, message.Attempt, preview.Url, cancellationToken));
                if (named == false)
                    return new AttemptOutcome(AttemptResult.Superseded);
                (preview.IsNamed, preview.HasNews) = (named == true, named is null);
            }

            percent = Math.Max(percent, Percent(progress));
            var sinceSave = time.GetElapsedTime(savedAt);
            var hasMoved = percent != saved || preview.HasNews;
            if (percent - saved < SaveStep && (!hasMoved || sinceSave < SaveInterval) && sinceSave < Heartbeat.Interval)
                continue;
            if (await SaveAsync(message, () => store.SaveProgressAsync(message.Id, message.Attempt, percent, cancellationToken)) == false)
                return new AttemptOutcome(AttemptResult.Superseded);
            (saved, savedAt) = (percent, time.GetTimestamp());
            preview.HasNews = false; // Every write makes an event, and a client that gets one loads the preview again.
        }
    }

    private static AttemptOutcome Failed(ForgeFailure failure, string reason, TimeSpan limit) =>
        new(AttemptResult.Failed, new ForgeException(failure, reason) { Limit = limit });

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

    /// <returns>False when the row is no longer this attempt's; null when the database is away.</returns>
    private async Task<bool?> SaveAsync(Message message, Func<Task<Transition>> save)
    {
        try
        {
            return (await save()).Applied;
        }
        catch (StoreUnavailableException e)
        {
            logger.LogDebug(e, "Progress of message {MessageId} could not be stored; generating goes on.", message.Id);
            return null;
        }
    }
}
