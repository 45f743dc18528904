using System.Runtime.CompilerServices;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>Watches a conversation for calls that wait: over any time, through outages of the database, until this process stops.</summary>
internal sealed class CallWaits(MessageFeed feed, TimeProvider time, IHostApplicationLifetime lifetime)
{
    /// <summary>The time after which a call that has seen no change does its other work, such as keeping a proxy awake.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan OutagePause = TimeSpan.FromSeconds(1);

    /// <summary>The changes of the conversation's messages since a revision; an empty list when there was none for a tick.</summary>
    /// <exception cref="OperationCanceledException">The client has closed the connection.</exception>
    /// <exception cref="ProblemException">This process stops.</exception>
    public async IAsyncEnumerable<IReadOnlyList<Message>> ChangesAsync(
        string conversationId, long sinceRevision, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping);
        FeedSubscription? subscription = null;
        try
        {
            while (true)
            {
                IReadOnlyList<MessageChange> changes;
                try
                {
                    subscription ??= await WatchAsync(conversationId, sinceRevision, ends.Token);
                    changes = await subscription.NextAsync(Tick, ends.Token);
                }
                catch (OperationCanceledException)
                {
                    ThrowIfEnded(cancellationToken);
                    throw;
                }

                yield return [.. changes.Select(change => change.Message)];
            }
        }
        finally
        {
            subscription?.Dispose();
        }
    }

    /// <summary>Tries again while the database is away: the requests are stored and run on, and the feed logs the outage.</summary>
    private async Task<FeedSubscription> WatchAsync(string conversationId, long sinceRevision, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await feed.WatchAsync(conversationId, sinceRevision, cancellationToken);
            }
            catch (StoreUnavailableException)
            {
                await Task.Delay(OutagePause, time, cancellationToken);
            }
        }
    }

    private void ThrowIfEnded(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            throw new ProblemException(
                ProblemCodes.Stopping, "This server stops. Send the request again; another server, or this one after its start, takes it.");
        }
    }
}
