using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task AddUploadAsync(Upload upload, CancellationToken cancellationToken)
    {
        var added = await _writer.RunAsync(
            session => session.Execute(
                """
                INSERT INTO uploads (id, conversation_id, width, height, created_at)
                SELECT @Id, @ConversationId, @Width, @Height, @Now
                WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = @ConversationId AND username = '')
                """,
                [
                    ("@Id", upload.Id), ("@ConversationId", upload.ConversationId), ("@Width", upload.Width), ("@Height", upload.Height),
                    ("@Now", Now()),
                ]),
            cancellationToken);
        if (added == 0)
            throw new ConversationDeletedException(upload.ConversationId);
    }

    public async Task<Upload?> FindUploadAsync(string id, CancellationToken cancellationToken) =>
        await OneAsync<(string Id, string ConversationId, int Width, int Height)?>(
            "SELECT id, conversation_id, width, height FROM uploads WHERE id = @id", new { id }) is { } row
            ? new(row.Id, row.ConversationId, row.Width, row.Height)
            : null;

    public Task ReleaseUploadsAsync(long messageId, CancellationToken cancellationToken) => TransitionAsync(
        new(null, messageId, Set: "",
            """
            deleted_at IS NULL AND queued_at IS NOT NULL AND status = 'complete'
                AND coalesce(extra_metadata ->> '$.source.upload_id', extra_metadata ->> '$.source.mask_upload_id') IS NOT NULL
            """)
        { Patch = MessagePatches.ReleaseUploads, Before = Release("status = 'complete'") },
        cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUploadsOfAsync(string conversationId, CancellationToken cancellationToken) =>
        IdsAsync(
            "DELETE FROM uploads WHERE conversation_id = @conversationId AND uses = 0 RETURNING id",
            new { conversationId = StoredName.Normalize(conversationId) }, cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUploadsAsync(IReadOnlyCollection<string> ids, CancellationToken cancellationToken) =>
        IdsAsync(
            "DELETE FROM uploads WHERE uses = 0 AND id IN (SELECT value FROM json_each(@ids)) RETURNING id",
            new { ids = JsonSerializer.Serialize(ids) }, cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUnusedUploadsAsync(
        IReadOnlyCollection<string> ids, TimeSpan olderThan, CancellationToken cancellationToken) =>
        IdsAsync(
            """
            DELETE FROM uploads WHERE uses = 0 AND created_at < @before;
            SELECT value FROM json_each(@ids) WHERE value NOT IN (SELECT id FROM uploads)
            """,
            new { before = Ago(olderThan), ids = JsonSerializer.Serialize(ids) },
            cancellationToken);

    /// <summary>Counts new messages that name the uploads.</summary>
    /// <exception cref="SourceException">One of them is gone.</exception>
    private static void UseUploads(SqliteSession session, ImageSource? source, int messages)
    {
        foreach (var id in source?.Uploads ?? [])
        {
            if (session.Execute("UPDATE uploads SET uses = uses + @Messages WHERE id = @Id", [("@Messages", messages), ("@Id", id)]) == 0)
                throw SourceException.Gone(source!, id);
        }
    }

    /// <summary>Takes a message from its uploads' counts; the last one takes the rows with it.</summary>
    private static string[] Release(string guard)
    {
        var named =
            $"""
            SELECT value
            FROM messages, json_each(json_array(extra_metadata ->> '$.source.upload_id', extra_metadata ->> '$.source.mask_upload_id'))
            WHERE messages.id = @Id AND deleted_at IS NULL AND queued_at IS NOT NULL AND {guard}
            """;
        return
        [
            $"UPDATE uploads SET uses = uses - 1 WHERE uploads.id IN ({named})",
            $"DELETE FROM uploads WHERE uses <= 0 AND uploads.id IN ({named})",
        ];
    }

    private Task<IReadOnlyList<string>> IdsAsync(string sql, object parameters, CancellationToken cancellationToken) =>
        _writer.RunAsync<IReadOnlyList<string>>(session => session.Connection.Query<string>(sql, parameters).AsList(), cancellationToken);
}
