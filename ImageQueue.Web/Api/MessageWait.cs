using System.Globalization;
using ImageQueue.Core.Messages;

namespace ImageQueue.Web.Api;

/// <summary><c>Prefer: wait=30</c> (RFC 7240, section 4.3): holds an answer back until the image has ended, or the time is over.</summary>
public sealed class MessageWait(MessageFeed feed, TimeProvider time, IHostApplicationLifetime lifetime)
{
    /// <summary>Longest wait; who asks for more gets this.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(60);

    /// <summary>What the header asks for. Preferences that are not known, or make no sense, are ignored, as the RFC demands.</summary>
    public static TimeSpan In(string? prefer)
    {
        foreach (var preference in (prefer ?? "").Split(','))
        {
            var (name, value) = preference.Split(';')[0].Split('=', 2, StringSplitOptions.TrimEntries) is [var left, var right] ? (left, right) : ("", "");
            if (name.Equals("wait", StringComparison.OrdinalIgnoreCase) && int.TryParse(value.Trim('"'), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
                return seconds < Longest.TotalSeconds ? TimeSpan.FromSeconds(seconds) : Longest;
        }

        return TimeSpan.Zero;
    }

    /// <summary>The message when it has ended, or as it is when the time is over, this server stops, or the database is away.</summary>
    /// <exception cref="MessageNotFoundException">It was erased meanwhile.</exception>
    public async Task<Message> ForEndAsync(Message message, TimeSpan patience, CancellationToken cancellationToken)
    {
        if (patience == TimeSpan.Zero || HasEnded(message))
            return message;
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping);
        var started = time.GetTimestamp();
        try
        {
            // From the revision that was read: what was written since comes first.
            using var subscription = await feed.WatchAsync(message.ConversationId, message.Revision, ends.Token);
            while (!HasEnded(message) && patience - time.GetElapsedTime(started) is var left && left > TimeSpan.Zero)
                message = (await subscription.NextAsync(left, ends.Token)).LastOrDefault(change => change.Message.Id == message.Id)?.Message ?? message;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The server stops: what is known now is the answer, and the client asks the next one.
        }
        catch (StoreUnavailableException)
        {
            // The request itself was answered, and may have been accepted: that is not taken back because nobody can watch it.
        }

        return message.IsDeleted ? throw new MessageNotFoundException(message.Id) : message;
    }

    private static bool HasEnded(Message message) => message.Status is not (MessageStatus.Queued or MessageStatus.Processing);
}
