namespace ImageQueue.Web.Api;

/// <summary>
/// <c>Prefer: wait=30</c> (RFC 7240, section 4.3): holds an answer back until the request has finished, or the time is over.
/// </summary>
public sealed class MessageWait(MessageFeed feed, TimeProvider time, IHostApplicationLifetime lifetime)
{
    /// <summary>
    /// Waits for the request to finish; returns the message as it is when the time is over, this process stops, or the database is
    /// unavailable.
    /// </summary>
    /// <exception cref="MessageNotFoundException">It was erased meanwhile.</exception>
    public async Task<Message> ForEndAsync(Message message, TimeSpan patience, CancellationToken cancellationToken)
    {
        if (patience == TimeSpan.Zero || HasEnded(message))
            return message;
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping);
        var started = time.GetTimestamp();
        try
        {
            // From the revision that was read, so that no later change is missed.
            using var subscription = await feed.WatchAsync(message.ConversationId, message.Revision, ends.Token);
            while (!HasEnded(message) && patience - time.GetElapsedTime(started) is var left && left > TimeSpan.Zero)
            {
                message = (await subscription.NextAsync(left, ends.Token))
                    .LastOrDefault(change => change.Message.Id == message.Id)?.Message ?? message;
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // This process stops: answer with the current state; the client asks another one.
        }
        catch (StoreUnavailableException)
        {
            // The request was stored before the wait: a failed wait must not turn that into an error.
        }

        return message.IsDeleted ? throw new MessageNotFoundException(message.Id) : message;
    }

    internal static bool HasEnded(Message message) => message.Status is not (MessageStatus.Queued or MessageStatus.Processing);
}
