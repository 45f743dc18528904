using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Generation;

/// <summary>
/// A worker's writes to its row, repeated while the database is away: failing a claim would run the whole queue dry into errors,
/// and minutes of generating should not be lost to a moment's outage.
/// </summary>
public sealed class RequestWrites(IMessageStore store, MessageTexts texts, TimeProvider time, ILogger<RequestWrites> logger)
{
    /// <summary>How long an image's end is kept at hand when the database, or the disk, is away.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    /// <summary>The same when the process stops: then the row stays processing, and the next start finds it.</summary>
    private static readonly TimeSpan PatienceWhenStopping = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    /// <summary>The row as it is now; waits for the database as long as it takes.</summary>
    internal Task<Message?> FindAsync(GenerateImageJob.Run run) =>
        WaitAsync(run, "read", () => store.FindAsync(run.MessageId, run.Cancelled));

    /// <summary>Claims the row; waits for the database as long as it takes.</summary>
    internal Task<Transition> ClaimAsync(GenerateImageJob.Run run, BackendReservation? lease) =>
        WaitAsync(run, "claimed", () => store.ClaimAsync(run.MessageId, run.HangfireJobId, lease?.Backend.Name, lease?.LeaseName, run.Cancelled));

    /// <summary>Gives the row back to the queue.</summary>
    internal Task<Transition> RequeueAsync(GenerateImageJob.Run run, Message message, AttemptCharge charge, string why) =>
        FinishAsync(run, message, () => store.RequeueAsync(message.Id, message.Attempt, charge, CancellationToken.None, why));

    /// <summary>Ends the request in error.</summary>
    /// <returns>False when the row is no longer this attempt's.</returns>
    internal async Task<bool> FailAsync(GenerateImageJob.Run run, Message message, RequestFailure failure)
    {
        var failed = await FinishAsync(
            run, message, () => store.FailAsync(message.Id, message.Attempt, texts.Failed(failure.Sentence), failure, CancellationToken.None));
        return failed.Applied || IsMine(failed.Message, message, MessageStatus.Error);
    }

    /// <summary>Says that the image is there.</summary>
    /// <returns>False when the row is no longer this attempt's.</returns>
    internal async Task<bool> CompleteAsync(GenerateImageJob.Run run, Message message, string imageUrl, string? thumbnailUrl, ImageResult result)
    {
        var completed = await FinishAsync(
            run, message, () => store.CompleteAsync(message.Id, message.Attempt, texts.Complete(imageUrl), imageUrl, thumbnailUrl, result, CancellationToken.None));
        if (completed.Applied || IsMine(completed.Message, message, MessageStatus.Complete))
            return true;
        logger.LogInformation(
            "Message {MessageId} is {Status}; attempt {Attempt}'s image is dropped.", message.Id, completed.Message?.Status ?? "gone", message.Attempt);
        return false;
    }

    /// <summary>Repeats what the database or the disk was not there for.</summary>
    internal async Task<T> FinishAsync<T>(GenerateImageJob.Run run, Message message, Func<Task<T>> finish)
    {
        var started = time.GetTimestamp();
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return await finish();
            }
            catch (Exception e) when (IsPassing(e) && time.GetElapsedTime(started) < (run.Cancelled.IsCancellationRequested ? PatienceWhenStopping : Patience))
            {
                logger.LogWarning("How message {MessageId} ended could not be stored ({Reason}); trying again in {Pause}.", message.Id, e.Message, pause);
                await Task.Delay(pause, time, CancellationToken.None);
            }
        }
    }

    private async Task<T> WaitAsync<T>(GenerateImageJob.Run run, string what, Func<Task<T>> step)
    {
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return await step();
            }
            catch (StoreUnavailableException e)
            {
                logger.LogWarning("Message {MessageId} cannot be {What} ({Reason}); trying again in {Pause}.", run.MessageId, what, e.Message, pause);
                await Task.Delay(pause, time, run.Cancelled);
            }
        }
    }

    private static bool IsPassing(Exception e) => e is StoreUnavailableException or IOException or UnauthorizedAccessException;

    /// <summary>A repeated write is refused when the first one was stored after all.</summary>
    private static bool IsMine(Message? now, Message claimed, string status) => now?.Status == status && now.Attempt == claimed.Attempt;

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;
}
