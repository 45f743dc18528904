using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<IReadOnlyList<Submitted>> SubmitAsync(
        IReadOnlyList<NewImageMessage> messages, UserLimits limits, CancellationToken cancellationToken)
    {
        var (now, first, by) = (Now(), messages[0], Actor.Current); // The writer's thread has no actor.
        var patches = messages.Select(MessagePatches.Submit).ToList();
        var submitted = await _writer.RunAsync<IReadOnlyList<Submitted>>(
            session =>
            {
                EnsureConversation(session, first.ConversationId, first.Username, first.Prompt, now);
                if (messages.Select(message => FindReplay(session, message)).OfType<Submitted>().ToList() is { Count: > 0 } replays)
                    return replays; // All that have not been erased.
                _shares.Add(session, first.Username, first.Work, limits, messages.Count);
                UseUploads(session, first.Source, messages.Count);
                return
                [
                    .. messages.Zip(patches, (message, patch) => new Submitted(
                        Insert(
                            session,
                            new(message.ConversationId, message.Username, MessageRole.Bot, MessagePatches.PendingContent, patch),
                            now, message.IdempotencyKey, message.RequestHash, message.Work, by),
                        IsReplay: false)),
                ];
            },
            cancellationToken);
        if (submitted[0].IsReplay)
            return submitted;
        foreach (var _ in submitted)
            Metrics?.RecordSubmit();
        Signal.Raise();
        return submitted;
    }

    private static Submitted? FindReplay(SqliteSession session, NewImageMessage message) =>
        FindByKey(session, message.ConversationId, message.IdempotencyKey) is { } earlier ? Replay(message, earlier) : null;

    /// <summary>In the writer's transaction, as a submit's: no other write adds to this user's share in between.</summary>
    private void AddRetryToShare(SqliteSession session, long? id, UserLimits limits)
    {
        if (session.Connection.QuerySingleOrDefault<(string Username, double Work)?>(
            $"SELECT username, ifnull(work, 0) FROM messages WHERE id = @id AND {IsRetryable}", new { id }) is { } retried)
        {
            _shares.Add(session, retried.Username, retried.Work, limits);
        }
    }
}
