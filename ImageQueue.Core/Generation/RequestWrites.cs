using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Generation;

/// <summary>
/// A worker's writes to its row, repeated while the database is away: failing a claim would run the whole queue dry into errors,
/// and minutes of generating should not be lost to a moment's outage.
/// </summary>
internal sealed class RequestWrites(
    IMessageStore store, ImageFiles images, ImageLocator locator, ImageJobs jobs, IQueueOrder order, MessageTexts texts, TimeProvider time,
    ILogger<RequestWrites> logger)
{
    /// <summary>How long the end of an attempt is kept while the database, or the disk, is away.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    /// <summary>The same when the process stops: then the row stays processing, and the next start finds it.</summary>
    private static readonly TimeSpan PatienceWhenStopping = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    /// <summary>Reads the row; waits for the database as long as it takes.</summary>
    public Task<Message?> FindAsync(GenerateImageJob.Run run) =>
        WaitAsync(run, "read", () => store.FindAsync(run.MessageId, run.Cancelled));

    /// <summary>Claims the row; waits for the database as long as it takes.</summary>
    public async Task<Transition> ClaimAsync(GenerateImageJob.Run run, BackendReservation reservation)
    {
        var claim = await WaitAsync(run, "claimed", () => store.ClaimAsync(
            run.MessageId, run.HangfireJobId, reservation.Backend.Name, reservation.LeaseName, run.Cancelled));
        if (claim.Applied)
            order.Remove(run.HangfireJobId);
        return claim;
    }

    /// <summary>What to send: the request, with the files that it starts from.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.SourceGone"/>: one of them is not there any more.</exception>
    public Task<GenerationRequest> FindSourceAsync(Attempt attempt) => ImageSource.Of(attempt.Message) is not { } source
        ? Task.FromResult(attempt.Request)
        : FinishAsync(attempt, "given its source", async () =>
        {
            var image = source.JobId is { } jobId ? await locator.FindAsync(jobId, attempt.Run.Cancelled) : UploadPath(source.UploadId);
            var mask = UploadPath(source.MaskUploadId);
            return image is null || (mask is null && source.MaskUploadId is not null)
                ? throw new ForgeException(ForgeFailure.SourceGone, "the image that it starts from has been removed")
                : attempt.Request with { Source = new GenerationSource(source, image, mask) };
        });

    public Task<Transition> RequeueAsync(Attempt attempt, Resolution resolution) => FinishAsync(
        attempt, "requeued", () => store.RequeueAsync(
            attempt.Message.Id, attempt.Message.Attempt, resolution.Charge, CancellationToken.None, resolution.Reason,
            isAtTail: resolution.Row == RowChange.RequeueAtTail));

    /// <summary>Puts the job back to its place in the queue.</summary>
    /// <returns>False when its place is lost.</returns>
    public Task<bool> GiveBackAsync(GenerateImageJob.Run run, string why) =>
        ChangeJobAsync(run, "given back", () => run.Fetched.TryGiveBack(why));

    /// <summary>
    /// Gives a requeued row a job at the queue's tail. A crash before the attach leaves a queued row without a job that runs, which the
    /// sweep repairs.
    /// </summary>
    public async Task MoveToTailAsync(Attempt attempt)
    {
        var (id, old) = (attempt.Message.Id, attempt.Run.HangfireJobId);
        var job = await ChangeJobAsync(attempt.Run, "moved to the tail", () => jobs.Enqueue(id, attempt.Message.Username));
        var attached = await FinishAsync(
            attempt, "attached to its new job", () => store.AttachJobAsync(id, job, old, CancellationToken.None));
        if (!attached.Applied && attached.Message?.HangfireJobId != job)
        {
            // Cancelled meanwhile, or repaired: this job has nothing to do.
            jobs.Delete(job, "another job has the request, or it was cancelled");
            order.Remove(job);
        }

        jobs.Delete(old, "its request waits at the queue's tail, with another job");
    }

    /// <returns>False when the row is no longer this attempt's.</returns>
    public async Task<bool> FailAsync(Attempt attempt, RequestFailure failure)
    {
        var message = attempt.Message;
        var failed = await FinishAsync(
            attempt, "ended in error",
            () => store.FailAsync(message.Id, message.Attempt, texts.Failed(failure.Sentence), failure, CancellationToken.None));
        if (failed is { Applied: true, Message: { } row })
            logger.LogFinished(texts.UsersInLogs, row, row.UpdatedAt - message.UpdatedAt); // Since its claim.
        return failed.Applied || IsMine(failed.Message, message, MessageStatus.Error);
    }

    /// <summary>Ends a request in error that no worker has claimed.</summary>
    /// <returns>False when it does not wait any more.</returns>
    public async Task<bool> FailQueuedAsync(GenerateImageJob.Run run, RequestFailure failure)
    {
        var failed = await WaitAsync(
            run, "ended", () => store.FailQueuedAsync(run.MessageId, texts.Failed(failure.Sentence), failure, run.Cancelled));
        if (failed is not { Applied: true, Message: { } row })
            return false;
        logger.LogFinished(texts.UsersInLogs, row);
        order.Remove(run.HangfireJobId);
        return true;
    }

    /// <summary>
    /// The file first, under a name of this attempt's own; then the row; then the file's final name. A crash before the last
    /// step leaves a complete row whose image is found by its attempt (<see cref="ImageLocator"/>).
    /// </summary>
    /// <exception cref="ForgeException">It is no usable image.</exception>
    /// <exception cref="IOException">It could not be stored for a long time.</exception>
    public async Task<AttemptOutcome> StoreAsync(Attempt attempt, ForgeImage image, TimeSpan duration)
    {
        var (message, jobId) = (attempt.Message, attempt.Message.JobId!); // It named the task.
        using var prepared = await FinishAsync(
            attempt, "given its image", () => Task.FromResult(images.Prepare(jobId, message.Attempt, image.Bytes, image.Info?.Text)));
        CheckSize(attempt, prepared);
        attempt.Reservation.ReportCompleted(image.Info?.Model);
        var (imageUrl, thumbnailUrl) = (MessagePatches.ImageUrl(jobId), MessagePatches.ThumbnailUrl(jobId));
        var backend = attempt.Reservation.Backend.Name;
        var result = new ImageResult(image.Info?.Seed, prepared.Width, prepared.Height, image.Info?.Model, duration, backend)
        { Scheduler = image.ReplacedScheduler, Upscaler = image.Upscaler };
        var completed = await FinishAsync(attempt, "completed", () => store.CompleteAsync(
            message.Id, message.Attempt, texts.Complete(imageUrl), imageUrl, thumbnailUrl, result, CancellationToken.None));
        if (!completed.Applied && !IsMine(completed.Message, message, MessageStatus.Complete))
        {
            logger.LogInformation(
                "Message {MessageId} is {Status}; attempt {Attempt}'s image is dropped.",
                message.Id, completed.Message?.Status ?? "gone", message.Attempt);
            return new AttemptOutcome(AttemptResult.Superseded);
        }

        if (completed is { Applied: true, Message: { } row })
            logger.LogFinished(texts.UsersInLogs, row, duration);
        try
        {
            prepared.Publish();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            prepared.Keep();
            logger.LogWarning(
                e, "The image of message {MessageId} has no final name yet; it gets it when it is first requested.", message.Id);
        }

        return new AttemptOutcome(AttemptResult.Completed);
    }

    /// <summary>
    /// Backends round a size to their grid: 8 pixels where they upscale (Forge's <c>modules/upscaler.py</c>), 64 at most where they
    /// generate.
    /// </summary>
    private static void CheckSize(Attempt attempt, PreparedImage image)
    {
        var grid = ForgeTasks.Of(ImageSource.Of(attempt.Message)) == ForgeTask.Upscale ? 8 : 64;
        if (GenerationSettings.Of(attempt.Message) is { Width: { } width, Height: { } height }
            && (Math.Abs(image.Width - width) >= grid || Math.Abs(image.Height - height) >= grid))
        {
            throw new ForgeException(ForgeFailure.BadImage, $"the image is {image.Width} x {image.Height} instead of {width} x {height}");
        }
    }

    private string? UploadPath(string? id) => id is null ? null : images.FindUploadPath(id);

    /// <summary>Repeats what failed since the database or the disk was away.</summary>
    private Task<T> FinishAsync<T>(Attempt attempt, string what, Func<Task<T>> finish)
    {
        var startedAt = time.GetTimestamp();
        return RepeatAsync(
            attempt.Run, what, finish,
            e => e is StoreUnavailableException or IOException or UnauthorizedAccessException
                && time.GetElapsedTime(startedAt) < (attempt.Run.Cancelled.IsCancellationRequested ? PatienceWhenStopping : Patience),
            CancellationToken.None);
    }

    private Task<T> WaitAsync<T>(GenerateImageJob.Run run, string what, Func<Task<T>> step) =>
        RepeatAsync(run, what, step, e => e is StoreUnavailableException, run.Cancelled);

    /// <summary>
    /// Repeats a change in Hangfire's storage, whose outage has no exception of its own: a job that fails by it would end its request.
    /// </summary>
    /// <exception cref="OperationCanceledException">The process stops; Hangfire puts the job back.</exception>
    private Task<T> ChangeJobAsync<T>(GenerateImageJob.Run run, string what, Func<T> change)
    {
        var startedAt = time.GetTimestamp();
        return RepeatAsync(
            run, what, () => Task.FromResult(change()), _ => time.GetElapsedTime(startedAt) < Patience, run.Cancelled);
    }

    private async Task<T> RepeatAsync<T>(
        GenerateImageJob.Run run, string what, Func<Task<T>> step, Func<Exception, bool> isPassing, CancellationToken cancellationToken)
    {
        for (var pause = FirstPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            try
            {
                return await step();
            }
            catch (Exception e) when (isPassing(e))
            {
                logger.Log(
                    pause == FirstPause ? LogLevel.Warning : LogLevel.Debug, // Once for each outage.
                    "Message {MessageId} cannot be {What} ({Reason}); next try in {Pause}.", run.MessageId, what, e.Message, pause);
                await Task.Delay(pause, time, cancellationToken);
            }
        }
    }

    /// <summary>A repeated write is refused when the first one was stored after all.</summary>
    private static bool IsMine(Message? now, Message claimed, string status) => now?.Status == status && now.Attempt == claimed.Attempt;
}
