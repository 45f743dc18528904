using Dapper;

namespace ImageQueue.Core.Messages.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int NameSize = 100;

    /// <summary>How long a user's other submissions are waited for.</summary>
    private static readonly TimeSpan UserLockTimeout = TimeSpan.FromSeconds(10);

    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var now = Now();
        var added = await InsertAsync(
            Add,
            new StatementParameters()
                .AddText("@ConversationId", message.ConversationId, NameSize)
                .AddText("@Username", message.Username, NameSize)
                .AddText("@Title", ConversationTitle.From(message.Content), 400)
                .AddText("@Role", message.Role, 10)
                .AddText("@Content", message.Content)
                .AddText("@Metadata", message.ExtraMetadata?.ToDocument())
                .Add("@Now", now)
                .Add("@QueuedAt", (DateTime?)null)
                .AddText("@IdempotencyKey", null, 200)
                .AddText("@RequestHash", null, RequestHashSize),
            cancellationToken);
        if (added.Outcome == SubmitOutcome.Forbidden)
            throw new ConversationForbiddenException(message.ConversationId);
        signal.Raise();
        return added.ToMessage();
    }

    public async Task<Submitted> SubmitAsync(NewImageMessage message, UserLimits limits, CancellationToken cancellationToken)
    {
        var now = Now();
        var submitted = await InsertAsync(
            Submit,
            new StatementParameters()
                .AddText("@ConversationId", message.ConversationId, NameSize)
                .AddText("@Username", message.Username, NameSize)
                .AddText("@Title", ConversationTitle.From(message.Prompt), 400)
                .AddText("@Role", MessageRole.Bot, 10)
                .AddText("@Content", MessagePatches.PendingContent)
                .AddText("@Metadata", MessagePatches.Submit(message).ToDocument())
                .Add("@Now", now)
                .Add("@QueuedAt", now)
                .AddText("@IdempotencyKey", message.IdempotencyKey, 200)
                .AddText("@RequestHash", message.RequestHash, RequestHashSize)
                .AddText("@UserLock", $"imagequeue:submit:{message.Username}", 255)
                .Add("@LockTimeout", (int)UserLockTimeout.TotalMilliseconds)
                .Add("@MaxPending", limits.MaxPending),
            cancellationToken);
        switch (submitted.Outcome)
        {
            case SubmitOutcome.Forbidden:
                throw new ConversationForbiddenException(message.ConversationId);
            case SubmitOutcome.Full:
                throw TooManyPendingException.OfUser(limits.MaxPending);
            case SubmitOutcome.Replay:
                var earlier = submitted.ToMessage();
                return message.IsSameRequestAs(earlier) ? new Submitted(earlier, IsReplay: true) : throw new IdempotencyKeyReusedException();
            default:
                signal.Raise();
                return new Submitted(submitted.ToMessage(), IsReplay: false);
        }
    }

    private Task<MessageRow> InsertAsync(string batch, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(connection => connection.QuerySingleAsync<MessageRow>(Command(batch, parameters, cancellationToken)), cancellationToken);

    /// <summary>What the batches below report.</summary>
    private static class SubmitOutcome
    {
        public const string Added = "added";
        public const string Replay = "replay";
        public const string Forbidden = "forbidden";
        public const string Full = "full";
    }

    // XACT_ABORT: an error or a caller who gives up undoes all of it at once, and leaves no lock behind in the pool.
    private const string Begin =
        """
        SET XACT_ABORT ON;
        BEGIN TRANSACTION;
        """;

    /// <summary>
    /// The first message makes the conversation. UPDLOCK and HOLDLOCK keep the place in the index for the one who looks first, so
    /// that two who begin it at once make one; whom it belongs to is compared with the column, which compares exactly.
    /// </summary>
    private const string EnsureConversation =
        """
        IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
            INSERT INTO dbo.conversations (id, username, title, created_at)
            SELECT @ConversationId, @Username, @Title, @Now
            WHERE NOT EXISTS (SELECT 1 FROM dbo.conversations WITH (UPDLOCK, HOLDLOCK) WHERE id = @ConversationId);
        """;

    private const string IsForeign = "NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)";

    private const string Insert =
        $"""
        INSERT INTO dbo.messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, idempotency_key, request_hash)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES (@ConversationId, @Role, @Content, @Metadata, @Now, @Now, @QueuedAt, @IdempotencyKey, @RequestHash);
        """;

    private const string Add =
        $"""
        {Begin}
        {EnsureConversation}
        IF {IsForeign}
            SELECT N'{SubmitOutcome.Forbidden}' AS Outcome;
        ELSE
            {Insert}
        COMMIT TRANSACTION;
        """;

    /// <summary>
    /// One user's submissions come one after the other (a lock on the user's name that ends with the transaction): the limit holds
    /// and a repeated key finds the first one, from whichever machine they come. A refused one leaves nothing behind.
    /// </summary>
    private const string Submit =
        $"""
        {Begin}
        DECLARE @Lock int;
        EXEC @Lock = sp_getapplock @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
        IF @Lock < 0
            THROW 51222, N'The user''s other submissions have not ended in time.', 1;
        {EnsureConversation}
        IF {IsForeign}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT N'{SubmitOutcome.Forbidden}' AS Outcome;
        END
        ELSE IF EXISTS (SELECT 1 FROM dbo.messages WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL)
        BEGIN
            COMMIT TRANSACTION;
            SELECT N'{SubmitOutcome.Replay}' AS Outcome, {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL;
        END
        ELSE IF @MaxPending <= (
            SELECT COUNT(*)
            FROM dbo.conversations AS c
            JOIN dbo.messages AS m ON m.conversation_id = c.id
            WHERE c.username = @Username AND m.queued_at IS NOT NULL AND m.status = N'queued')
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT N'{SubmitOutcome.Full}' AS Outcome;
        END
        ELSE
        BEGIN
            {Insert}
            COMMIT TRANSACTION;
        END
        """;
}
