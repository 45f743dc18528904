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

    public Task<Upload?> FindUploadAsync(string id, CancellationToken cancellationToken) => Task.FromResult(
        Read(connection => connection.QuerySingleOrDefault<UploadRow>(
            "SELECT id AS Id, conversation_id AS ConversationId, width AS Width, height AS Height FROM uploads WHERE id = @id",
            new { id }))?.ToUpload());

    public Task ReleaseUploadsAsync(long messageId, CancellationToken cancellationToken) => TransitionAsync(
        operation: null,
        $"""
        UPDATE messages SET {Merge}
        WHERE id = @Id AND deleted_at IS NULL AND queued_at IS NOT NULL AND status = 'complete'
            AND coalesce(extra_metadata ->> '$.source.upload_id', extra_metadata ->> '$.source.mask_upload_id') IS NOT NULL
        RETURNING {Columns}
        """,
        new Change(messageId, Now(), MessagePatches.ReleaseUploads.Json),
        cancellationToken,
        before: session => Release(session, messageId, "status = 'complete'"));

    public Task<IReadOnlyList<string>> ForgetUploadsOfAsync(string conversationId, CancellationToken cancellationToken) =>
        _writer.RunAsync<IReadOnlyList<string>>(
            session => Ids(
                session,
                "DELETE FROM uploads WHERE conversation_id = @conversationId AND uses = 0 RETURNING id",
                new { conversationId = StoredName.Normalize(conversationId) }),
            cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUploadsAsync(IReadOnlyCollection<string> ids, CancellationToken cancellationToken) =>
        _writer.RunAsync<IReadOnlyList<string>>(
            session => Ids(
                session,
                "DELETE FROM uploads WHERE uses = 0 AND id IN (SELECT value FROM json_each(@ids)) RETURNING id",
                new { ids = JsonSerializer.Serialize(ids) }),
            cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUnusedUploadsAsync(
        IReadOnlyCollection<string> ids, TimeSpan olderThan, CancellationToken cancellationToken)
    {
        var before = Write(_time.GetUtcNow() - olderThan);
        return _writer.RunAsync<IReadOnlyList<string>>(
            session =>
            {
                session.Execute("DELETE FROM uploads WHERE uses = 0 AND created_at < @Before", [("@Before", before)]);
                return Ids(
                    session,
                    "SELECT value FROM json_each(@ids) WHERE value NOT IN (SELECT id FROM uploads)",
                    new { ids = JsonSerializer.Serialize(ids) });
            },
            cancellationToken);
    }

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
    private static void Release(SqliteSession session, long messageId, string guard = "TRUE")
    {
        var named =
            $"""
            SELECT value
            FROM messages, json_each(
                json_array(extra_metadata ->> '$.source.upload_id', extra_metadata ->> '$.source.mask_upload_id'))
            WHERE messages.id = @Id AND deleted_at IS NULL AND queued_at IS NOT NULL AND {guard}
            """;
        session.Execute($"UPDATE uploads SET uses = uses - 1 WHERE uploads.id IN ({named})", [("@Id", messageId)]);
        session.Execute($"DELETE FROM uploads WHERE uses <= 0 AND uploads.id IN ({named})", [("@Id", messageId)]);
    }

    private static List<string> Ids(SqliteSession session, string sql, object parameters) =>
        session.Connection.Query<string>(sql, parameters).AsList();

    private sealed class UploadRow
    {
        public string Id { get; init; } = "";

        public string ConversationId { get; init; } = "";

        public long Width { get; init; }

        public long Height { get; init; }

        public Upload ToUpload() => new(Id, ConversationId, (int)Width, (int)Height);
    }
}
