using Hangfire;
using Hangfire.Server;

namespace ImageQueue.Core.Requests;

/// <summary>The Hangfire job that runs a command on every request that matches a search.</summary>
/// <remarks>
/// A crash leaves the job to Hangfire, which runs it again: the requests that are done match no longer or refuse, so nothing is done twice.
/// </remarks>
public sealed class BulkCommandJob(
    IOperatorStore store, BulkCommands commands, CancelImageRequest cancel, RetryImageRequest retry, EraseMessages erase, TimeProvider time,
    ILogger<BulkCommandJob> logger)
{
    private const int PageSize = 2000;

    /// <summary>Requests at a time; their writes share commits.</summary>
    private const int Parallelism = 48;

    private static readonly TimeSpan SaveInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>Called by Hangfire.</summary>
    /// <param name="search">A <see cref="RequestSearch"/> as JSON.</param>
    [AutomaticRetry(Attempts = 3)]
    [JobDisplayName("{0} all matching images for {2}")]
    public Task RunAsync(BulkVerb verb, string search, string by, PerformContext? context, CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(
            () => RunAsync(verb, JsonSerializer.Deserialize<RequestSearch>(search)!, by, context!.BackgroundJob.Id, cancellationToken),
            CancellationToken.None);

    private async Task RunAsync(BulkVerb verb, RequestSearch search, string by, string job, CancellationToken cancellationToken)
    {
        Actor.Current = $"operator {by}";
        var total = await store.CountMatchingAsync(search, cancellationToken);
        var (done, refused, after, savedAt) = (0, 0, 0L, time.GetTimestamp());
        var options = new ParallelOptions { MaxDegreeOfParallelism = Parallelism, CancellationToken = cancellationToken };
        commands.Save(job, new(0, 0, total));
        try
        {
            while (await store.ListMatchingAsync(search, after, PageSize, cancellationToken) is { Count: > 0 } ids)
            {
                await Parallel.ForEachAsync(ids, options, async (id, stop) =>
                {
                    if (await ApplyAsync(verb, id, stop))
                        Interlocked.Increment(ref done);
                    else
                        Interlocked.Increment(ref refused);
                    var last = Volatile.Read(ref savedAt);
                    if (time.GetElapsedTime(last) >= SaveInterval
                        && Interlocked.CompareExchange(ref savedAt, time.GetTimestamp(), last) == last)
                    {
                        commands.Save(job, new(Volatile.Read(ref done), Volatile.Read(ref refused), total));
                    }
                });
                after = ids[^1];
            }
        }
        finally
        {
            commands.Save(job, new(done, refused, total));
            logger.LogInformation(
                "{Verb} of all matching requests by {By}: {Done} of {Total} done, {Refused} refused.", verb, by, done, total, refused);
        }
    }

    private async Task<bool> ApplyAsync(BulkVerb verb, long id, CancellationToken cancellationToken)
    {
        try
        {
            return verb switch
            {
                BulkVerb.Cancel => (await cancel.CancelAsync(id, cancellationToken)).Applied,
                BulkVerb.Retry => (await retry.RetryForOperatorAsync(id, cancellationToken)).Applied,
                _ => await erase.EraseAsync(id, cancellationToken),
            };
        }
        catch (Exception e) when (e is TooManyPendingException or IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
