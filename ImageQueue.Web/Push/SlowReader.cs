using ImageQueue.Core.Messages;

namespace ImageQueue.Web.Push;

/// <summary>Delivers a page of changes so that a slow client holds no more than the change that is being written.</summary>
internal static class SlowReader
{
    /// <summary>How long the rest of a page is kept for a client that does not take it.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Writes the changes one after the other. Takes the rest back, to be read again later, when one takes longer than
    /// <see cref="Patience"/>.
    /// </summary>
    public static async Task DeliverAsync(
        this FeedSubscription subscription,
        Queue<(MessageChange Change, PushedChange Pushed)> page,
        Func<PushedChange, Task> write,
        TimeProvider time)
    {
        while (page.TryDequeue(out var next))
        {
            var writing = write(next.Pushed);
            next = default;
            if (writing.IsCompletedSuccessfully)
                continue;
            await Task.WhenAny(writing, Task.Delay(Patience, time));
            if (!writing.IsCompleted)
            {
                subscription.TakeBack(page.Select(one => one.Change));
                page.Clear();
            }

            await writing;
        }
    }
}
