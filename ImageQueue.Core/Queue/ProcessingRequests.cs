using System.Runtime.CompilerServices;

namespace ImageQueue.Core.Queue;

/// <summary>Lists the processing requests page by page.</summary>
internal static class ProcessingRequests
{
    /// <summary>Oldest place in the queue first. A page is read when the one before it has been used.</summary>
    public static async IAsyncEnumerable<Message> ListProcessingAsync(
        this IQueueStore store, int pageSize, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (UnfinishedCursor? cursor = null; ;)
        {
            var page = await store.ListByStatusAsync(MessageStatus.Processing, cursor, pageSize, cancellationToken);
            foreach (var message in page)
                yield return message;
            if (page.Count < pageSize)
                yield break;
            cursor = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id); // Only image rows are listed, and those have it.
        }
    }
}
