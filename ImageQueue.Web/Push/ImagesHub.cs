using ImageQueue.Core.Telemetry;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.SignalR;

namespace ImageQueue.Web.Push;

/// <summary>
/// Live progress over SignalR: the same objects as on Server-Sent Events. Each machine feeds its own connections from the rows, so
/// there is no backplane. A client that comes back watches again, from the newest revision it has seen.
/// </summary>
public sealed class ImagesHub(
    MessageFeed feed, PushWriter writer, WatcherReach reach, QueueMetrics metrics, IOptions<PushOptions> options, TimeProvider time,
    IHubContext<ImagesHub> hub, ILogger<ImagesHub> logger) : Hub
{
    public const string Path = "/hubs/images";

    /// <summary>The event of an image's change.</summary>
    public const string EventName = "ImageProgress";

    /// <summary>The event of a plain message's change: the message itself.</summary>
    public const string MessageEventName = "Message";

    /// <summary>Most conversations that one connection watches at once.</summary>
    internal const int MaxWatches = 100;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Sends every change of the conversation from now on, and first what changed since <paramref name="sinceRevision"/>. Once it
    /// returns, no later change is missed. A second call for the same conversation replaces the first. The conversation need not have a
    /// message yet.
    /// </summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="sinceRevision">The newest revision that the client has seen; may be left out.</param>
    [HubMethodName("Watch")]
    public async Task WatchAsync(string conversationId, long? sinceRevision)
    {
        conversationId = StoredName.Normalize(conversationId ?? "");
        var watches = Watches();
        if (watches.Count >= MaxWatches && !watches.ContainsKey(conversationId))
        {
            throw new HubException(
                $"One connection watches {MaxWatches} conversations at most. Unwatch one first, or open another connection.");
        }

        if (ConversationIdAttribute.Problem(conversationId) is { } problem)
            throw new HubException(problem);
        if (!await reach.CoversAsync(Context, conversationId, time))
            throw new HubException(ConversationIdAttribute.NotFoundSentence(conversationId));
        var subscription = await feed.WatchAsync(conversationId, sinceRevision, Context.ConnectionAborted);
        Stop(conversationId);
        var stop = CancellationTokenSource.CreateLinkedTokenSource(Context.ConnectionAborted);
        watches[conversationId] = stop;
        // The hub instance ends with this call; sending lasts as long as the connection.
        _ = SendAsync(Context, hub.Clients.Client(Context.ConnectionId), subscription, stop.Token);
    }

    /// <summary>Ends <see cref="WatchAsync"/>. Has no effect for a conversation that is not watched.</summary>
    /// <param name="conversationId">The conversation.</param>
    [HubMethodName("Unwatch")]
    public Task UnwatchAsync(string conversationId)
    {
        Stop(StoredName.Normalize(conversationId ?? ""));
        return Task.CompletedTask;
    }

    public override Task OnConnectedAsync()
    {
        SlowReader.LimitSendBuffer(Context.GetHttpContext());
        return Task.CompletedTask;
    }

    public override Task OnDisconnectedAsync(Exception? exception)
    {
        foreach (var conversationId in Watches().Keys.ToList())
            Stop(conversationId);
        return Task.CompletedTask;
    }

    /// <summary>SignalR runs the calls of one connection one after the other, so this needs no lock.</summary>
    private Dictionary<string, CancellationTokenSource> Watches()
    {
        if (!Context.Items.TryGetValue(typeof(ImagesHub), out var watches))
            Context.Items[typeof(ImagesHub)] = watches = new Dictionary<string, CancellationTokenSource>(StringComparer.Ordinal);
        return (Dictionary<string, CancellationTokenSource>)watches!; // Only set above.
    }

    private void Stop(string conversationId)
    {
        if (!Watches().Remove(conversationId, out var stop))
            return;
        stop.Cancel();
        stop.Dispose();
    }

    private async Task SendAsync(
        HubCallerContext connection, ISingleClientProxy client, FeedSubscription subscription, CancellationToken cancellationToken)
    {
        using var _ = subscription;
        using var watching = metrics.TrackStream("signalr");
        var pathBase = connection.GetHttpContext()?.Request.PathBase.Value;
        try
        {
            while (true)
            {
                var changes = await subscription.NextAsync(Patience, cancellationToken);
                if (!WatcherReach.Covers(connection.User, changes))
                {
                    connection.Abort();
                    return;
                }

                var page = await writer.WritePageAsync(changes, pathBase, cancellationToken);
                changes = [];
                await subscription.DeliverAsync(page, SendAsync, time);
            }
        }
        catch (TimeoutException)
        {
            connection.Abort(); // The client has read nothing for too long.
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Unwatched, or disconnected.
        }
        catch (Exception e)
        {
            // A closed connection is better than a silent one: the client reconnects and watches again.
            logger.LogError(e, "Sending changes to a hub connection failed; the connection is closed.");
            connection.Abort();
        }

        Task SendAsync(PushedChange change) => client
            .SendAsync(change.IsImage ? EventName : MessageEventName, change, cancellationToken)
            .WaitAsync(options.Value.SlowestReader, time, cancellationToken);
    }
}
