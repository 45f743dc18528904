using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Requests;

/// <summary>
/// The embedded default keeps Hangfire's jobs in memory, so each start rebuilds its queue from the rows: what was being
/// painted first, then all that waited, in the order in which they were queued.
/// </summary>
public sealed class QueueRebuild(
    IMessageStore store, EnqueueImageRequest queue, MessageTexts texts, IOptions<ForgeOptions> options, ILogger<QueueRebuild> logger)
    : BackgroundService
{
    /// <summary>Rows that are enqueued together; their writes share a commit.</summary>
    private const int BatchSize = 200;

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the first request can come in.
        queue.IsRebuilding = true;
        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.Yield(); // The start does not wait for it.
        for (var wait = TimeSpan.FromMilliseconds(500); ; wait = TimeSpan.FromSeconds(5))
        {
            try
            {
                await RebuildAsync(stoppingToken);
                return;
            }
            catch (StoreUnavailableException e)
            {
                logger.LogWarning(e, "The queue could not be rebuilt yet; trying again in {Seconds} s.", wait.TotalSeconds);
                await Task.Delay(wait, stoppingToken);
            }
        }
    }

    internal async Task RebuildAsync(CancellationToken cancellationToken)
    {
        // No worker of this process has claimed anything yet, so whatever is processing was cut off with an earlier one.
        var first = await RequeueProcessingAsync(cancellationToken);
        foreach (var message in first)
            await queue.EnqueueNowAsync(message);

        var done = first.Select(message => message.Id).ToHashSet();
        var cursor = await EnqueueQueuedAsync(null, done, cancellationToken);
        // A row that was added until here left its job to this rebuild; one that is added after it does not. So look once more.
        queue.IsRebuilding = false;
        await EnqueueQueuedAsync(cursor, done, cancellationToken);
        if (done.Count > 0)
            logger.LogInformation("Put {Count} unfinished image requests back into the queue.", done.Count);
    }

    private async Task<List<Message>> RequeueProcessingAsync(CancellationToken cancellationToken)
    {
        var requeued = new List<Message>();
        UnfinishedCursor? cursor = null;
        while (await store.ListByStatusAsync(MessageStatus.Processing, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            foreach (var message in page)
            {
                var tries = AttemptNumber.Tries(message.Attempt);
                if (tries >= options.Value.MaxAttempts)
                {
                    logger.LogWarning("Message {MessageId} was cut off in attempt {Tries} of {MaxAttempts}; giving it up.", message.Id, tries, options.Value.MaxAttempts);
                    var sentence = texts.Abandoned(tries);
                    await store.FailAsync(message.Id, message.Attempt, texts.Failed(sentence), sentence, cancellationToken);
                }
                else if (await store.RequeueAsync(message.Id, message.Attempt, requeued.Count + 1, cancellationToken) is { Applied: true, Message: { } queued })
                {
                    logger.LogInformation("Message {MessageId} was cut off in attempt {Tries}; it runs again.", message.Id, tries);
                    requeued.Add(queued);
                }

                cursor = new UnfinishedCursor(message.QueuedAt!.Value, message.Id); // Only image rows are listed, and those have it.
            }
        }

        return requeued;
    }

    private async Task<UnfinishedCursor?> EnqueueQueuedAsync(UnfinishedCursor? cursor, HashSet<long> done, CancellationToken cancellationToken)
    {
        while (await store.ListByStatusAsync(MessageStatus.Queued, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            // Hangfire gets them in order; only the writes that follow run side by side.
            await Task.WhenAll(page.Where(message => done.Add(message.Id)).Select(queue.EnqueueNowAsync));
            cursor = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id);
        }

        return cursor;
    }
}
