using Microsoft.AspNetCore.Connections.Features;

namespace ImageQueue.Web.Push;

/// <summary>Delivers a page of changes so that a slow client holds no more than the change that is being written.</summary>
internal static class SlowReader
{
    /// <summary>How long the rest of a page is kept for a client that does not take it.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>Bytes that the operating system buffers for one client.</summary>
    private const int SendBufferBytes = 128 * 1024;

    /// <summary>
    /// Keeps the operating system from buffering megabytes for a client that does not read: Linux lets the send buffer of a busy connection
    /// grow up to <c>tcp_wmem</c> (4 MiB), and each byte of it has been read and serialized for nothing.
    /// </summary>
    public static void LimitSendBuffer(HttpContext? context)
    {
        if (context?.Features.Get<IConnectionSocketFeature>() is { } connection)
            connection.Socket.SendBufferSize = SendBufferBytes;
    }

    /// <summary>
    /// Writes the changes one after the other. Takes the rest back, to be read again later, when one takes longer than
    /// <see cref="Patience"/>.
    /// </summary>
    public static async Task DeliverAsync(
        this FeedSubscription subscription, Queue<(MessageChange Change, PushedChange Pushed)> page, Func<PushedChange, Task> write,
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
