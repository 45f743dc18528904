using System.Security.Cryptography;

namespace ImageQueue.Core.Messages;

/// <summary>Logs one line for each request that finishes or is retried.</summary>
internal static class RequestLog
{
    /// <param name="logger">The caller's.</param>
    /// <param name="users">How the user is named.</param>
    /// <param name="message">The row that has just been written.</param>
    /// <param name="generated">How long its last attempt generated; null: not known, or it was not generated.</param>
    public static void LogFinished(this ILogger logger, UsersInLogs users, Message message, TimeSpan? generated = null)
    {
        var outcome = message.ErrorCode is { } code ? $"{message.Status} ({code})" : message.Status;
        var user = users == UsersInLogs.Name ? message.Username : Hash(message.Username);
        var total = message.UpdatedAt - message.QueuedAt!.Value; // Only an image request finishes.
        if (generated is { } time)
        {
            logger.LogInformation(
                "Message {MessageId} is {Outcome}: user {User}, backend {Backend}, waited {Waited:0.0} s, generated {Generated:0.0} s.",
                message.Id, outcome, user, message.Backend, Math.Max(0, (total - time).TotalSeconds), time.TotalSeconds);
        }
        else
        {
            logger.LogInformation(
                "Message {MessageId} is {Outcome}: user {User}, backend {Backend}, {Total:0.0} s after it was queued, by {Actor}.",
                message.Id, outcome, user, message.Backend ?? "none", total.TotalSeconds, ActorOf(message));
        }
    }

    public static void LogRetried(this ILogger logger, Message message) =>
        logger.LogInformation("Message {MessageId} is queued again by {Actor}.", message.Id, ActorOf(message));

    private static string ActorOf(Message message) =>
        Actor.Current is not { } actor ? "a worker" : actor == $"user {message.Username}" ? "its user" : actor;

    private static string Hash(string username) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(username)).AsSpan(0, 6));
}

/// <summary>How logs name users.</summary>
public enum UsersInLogs
{
    /// <summary>12 hex digits of the SHA-256 of the username.</summary>
    Hash,

    Name,
}
