using System.Globalization;
using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Submitted> AddOnceAsync(NewMessage message, IdempotencyKey key, CancellationToken cancellationToken)
    {
        var now = Now();
        var submitted = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Content, now);
                if (FindByKey(session, message.ConversationId, key.Key) is { } earlier)
                    return earlier.RequestHash == key.RequestHash ? new Submitted(earlier, IsReplay: true) : throw new IdempotencyKeyReusedException();
                var row = NewRow.Of(message) with { IdempotencyKey = key.Key, RequestHash = key.RequestHash };
                return new Submitted(Insert(session, row, now), IsReplay: false);
            },
            cancellationToken);
        if (!submitted.IsReplay)
            _signal.Raise();
        return submitted;
    }

    public Task<IReadOnlyList<Message>> ListBackwardsAsync(string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE conversation_id = @conversationId AND id < @before AND deleted_at IS NULL ORDER BY id DESC LIMIT @limit",
            new { conversationId, before, limit }))));

    public Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(string username, long before, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<ConversationSummary>>(Read(connection => connection.Query<SummaryRow>(
            """
            SELECT c.id AS Id, c.username AS Username, c.title AS Title, c.created_at AS CreatedAt, m.id AS LastMessageId, m.updated_at AS UpdatedAt
            FROM conversations c
            JOIN messages m ON m.id = (SELECT max(newest.id) FROM messages newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
            WHERE c.username = @username AND m.id < @before
            ORDER BY m.id DESC
            LIMIT @limit
            """,
            new { username, before, limit }).Select(row => row.ToSummary()).ToList()));

    /// <summary>A document that is too large already may still shrink.</summary>
    private static readonly string StaysSmall = string.Create(CultureInfo.InvariantCulture, $"{MergedLength} <= max({MetadataPatch.MaxDocumentLength}, length(ifnull(extra_metadata, '')) - 1)");

    private const string MergedLength = $"length(json_patch(ifnull(extra_metadata, '{EmptyObject}'), @Patch))";

    private sealed class SummaryRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public string CreatedAt { get; init; } = "";

        public long LastMessageId { get; init; }

        public string UpdatedAt { get; init; } = "";

        public ConversationSummary ToSummary() => new(new Conversation(Id, Username, Title, Time(CreatedAt)), LastMessageId, Time(UpdatedAt));
    }
}
