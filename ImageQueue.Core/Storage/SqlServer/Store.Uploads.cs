namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public async Task AddUploadAsync(Upload upload, CancellationToken cancellationToken)
    {
        var added = await ExecuteAsync(
            """
            INSERT INTO dbo.imagequeue_uploads (id, conversation_id, width, height)
            SELECT @UploadId, @ConversationId, @Width, @Height
            WHERE NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = N'');
            """,
            new StatementParameters().AddText("@UploadId", upload.Id, UploadIdSize).AddName("@ConversationId", upload.ConversationId)
                .Add("@Width", upload.Width).Add("@Height", upload.Height),
            cancellationToken);
        if (added == 0)
            throw new ConversationDeletedException(upload.ConversationId);
    }

    public Task<Upload?> FindUploadAsync(string id, CancellationToken cancellationToken) => OneAsync<Upload>(
        """
        SELECT id AS Id, conversation_id AS ConversationId, width AS Width, height AS Height
        FROM dbo.imagequeue_uploads
        WHERE id = @UploadId;
        """,
        new StatementParameters().AddText("@UploadId", id, UploadIdSize), cancellationToken);

    public Task ReleaseUploadsAsync(long messageId, CancellationToken cancellationToken) => TransitionAsync(
        new(null, messageId, Set: "", $"{IsReleasable} AND COALESCE({UploadOf}, {MaskOf}) IS NOT NULL")
        { Patch = MessagePatches.ReleaseUploads, Before = [Release(IsReleasable)] },
        cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUploadsOfAsync(string conversationId, CancellationToken cancellationToken) =>
        ManyAsync<string>(
            "DELETE FROM dbo.imagequeue_uploads OUTPUT deleted.id WHERE conversation_id = @ConversationId AND uses = 0;",
            new StatementParameters().AddName("@ConversationId", conversationId), cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUploadsAsync(IReadOnlyCollection<string> ids, CancellationToken cancellationToken) =>
        ManyAsync<string>(
            """
            DELETE FROM dbo.imagequeue_uploads
            OUTPUT deleted.id
            WHERE uses = 0
                AND id IN (SELECT those.id COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Ids) WITH (id nvarchar(32) '$') AS those);
            """,
            new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids)),
            cancellationToken);

    public Task<IReadOnlyList<string>> ForgetUnusedUploadsAsync(
        IReadOnlyCollection<string> ids, TimeSpan olderThan, CancellationToken cancellationToken) => ManyAsync<string>(
        """
        DELETE FROM dbo.imagequeue_uploads WHERE uses = 0 AND created_at < DATEADD(second, -@Seconds, SYSUTCDATETIME());
        SELECT those.id
        FROM OPENJSON(@Ids) WITH (id nvarchar(32) '$') AS those
        WHERE NOT EXISTS (
            SELECT 1 FROM dbo.imagequeue_uploads AS uploads WHERE uploads.id = those.id COLLATE Latin1_General_100_BIN2);
        """,
        new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids))
            .Add("@Seconds", (int)Math.Min(int.MaxValue, olderThan.TotalSeconds)),
        cancellationToken);

    private const int UploadIdSize = 32;

    private const string IsReleasable = "deleted_at IS NULL AND queued_at IS NOT NULL AND status = N'complete'";

    private const string UploadOf = """JSON_VALUE(extra_metadata, N'$."source"."upload_id"')""";

    private const string MaskOf = """JSON_VALUE(extra_metadata, N'$."source"."mask_upload_id"')""";

    /// <summary>Counts new messages that name the uploads, in a submit's transaction; an ELSE must follow.</summary>
    private const string UseUploads =
        $"""
        UPDATE dbo.imagequeue_uploads SET uses = uses + @Count WHERE id IN (@UploadId, @MaskUploadId);
        IF @@ROWCOUNT < @Uploads
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT N'{SubmitOutcome.Gone}' AS Outcome;
        END
        ELSE
        """;

    /// <summary>Takes a message from its uploads' counts; the last one takes the rows with it. Its row stays locked.</summary>
    private static string Release(string guard) =>
        $"""
        DECLARE @UploadId nvarchar(32), @MaskUploadId nvarchar(32);
        SELECT @UploadId = {UploadOf}, @MaskUploadId = {MaskOf} FROM dbo.messages WITH (UPDLOCK) WHERE id = @Id AND {guard};
        IF @UploadId IS NOT NULL OR @MaskUploadId IS NOT NULL
        BEGIN
            UPDATE dbo.imagequeue_uploads SET uses = uses - 1 WHERE id IN (@UploadId, @MaskUploadId);
            DELETE FROM dbo.imagequeue_uploads WHERE id IN (@UploadId, @MaskUploadId) AND uses <= 0;
        END
        """;
}
