using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int NameSize = 100;

    /// <summary>How long a user's other submissions are waited for.</summary>
    private static readonly TimeSpan UserLockTimeout = TimeSpan.FromSeconds(10);

    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var added = await InsertAsync(
            Add,
            Row(message.ConversationId, message.Username, message.Content, message.Role, message.Content, message.ExtraMetadata),
            cancellationToken);
        if (added.Outcome == SubmitOutcome.Forbidden)
            throw await WhyForbiddenAsync(message.ConversationId, cancellationToken);
        signal.Raise();
        return added.ToMessage();
    }

    public async Task<Submitted> SubmitAsync(NewImageMessage message, UserLimits limits, CancellationToken cancellationToken)
    {
        var submitted = await InsertAsync(
            Submit,
            Limits(Row(message.ConversationId, message.Username, message.Prompt, MessageRole.Bot, MessagePatches.PendingContent, MessagePatches.Submit(message)), limits)
                .Add("@Work", message.Work)
                .AddText("@IdempotencyKey", message.IdempotencyKey, 200)
                .AddText("@RequestHash", message.RequestHash, RequestHashSize),
            cancellationToken);
        ThrowIfFull(submitted.Outcome, limits);
        switch (submitted.Outcome)
        {
            case SubmitOutcome.Forbidden:
                throw await WhyForbiddenAsync(message.ConversationId, cancellationToken);
            case SubmitOutcome.Replay:
                var earlier = submitted.ToMessage();
                return message.IsSameRequestAs(earlier) ? new Submitted(earlier, IsReplay: true) : throw new IdempotencyKeyReusedException();
            default:
                metrics?.Submitted();
                signal.Raise();
                return new Submitted(submitted.ToMessage(), IsReplay: false);
        }
    }

    /// <summary>Nobody owns a conversation that was erased.</summary>
    private async Task<Exception> WhyForbiddenAsync(string conversationId, CancellationToken cancellationToken) =>
        await FindConversationAsync(conversationId, cancellationToken) is null ? new ConversationDeletedException(conversationId) : new ConversationForbiddenException(conversationId);

    private static StatementParameters Limits(StatementParameters parameters, UserLimits limits) => parameters
        .Add("@LockTimeout", (int)UserLockTimeout.TotalMilliseconds)
        .Add("@MaxPending", limits.MaxPending)
        .Add("@MaxWork", limits.MaxWork);

    private static void ThrowIfFull(string outcome, UserLimits limits)
    {
        if (outcome == SubmitOutcome.TooMany)
            throw TooManyPendingException.OfUser(limits.MaxPending);
        if (outcome == SubmitOutcome.TooMuch)
            throw TooManyPendingException.OfWork(limits.MaxWork!.Value); // The batch says so only where there is such a limit.
    }

    private Task<MessageRow> InsertAsync(string batch, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(connection => connection.QuerySingleAsync<MessageRow>(Command(batch, parameters, cancellationToken)), cancellationToken);

    /// <summary>What the batches below report.</summary>
    private static class SubmitOutcome
    {
        public const string Added = "added";
        public const string Replay = "replay";
        public const string Forbidden = "forbidden";
        public const string TooMany = "too many";
        public const string TooMuch = "too much";
    }

    // XACT_ABORT: an error or a caller who gives up undoes all of it at once, and leaves no lock behind in the pool.
    private const string Begin =
        """
        SET XACT_ABORT ON;
        BEGIN TRANSACTION;
        """;

    /// <summary>
    /// The first message makes the conversation. Of two who begin it at once the second gets a key error, which is repeated, and
    /// then finds it there: nobody holds a range of ids against others who begin theirs. Whom it belongs to is compared with the
    /// column, which compares exactly.
    /// </summary>
    private const string EnsureConversation =
        """
        IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
            INSERT INTO dbo.conversations (id, username, title, created_at) VALUES (@ConversationId, @Username, @Title, @Now);
        """;

    private const string IsForeign = "NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)";

    private const string Insert =
        $"""
        INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now);
        """;

    // The place in the queue is by the server's clock: the same for all machines, and the one that judges its age.
    private const string InsertRequest =
        $"""
        INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work, idempotency_key, request_hash)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, SYSUTCDATETIME(), @Work, @IdempotencyKey, @RequestHash);
        """;

    /// <summary>One user's requests are added one after the other, from whichever machine they come.</summary>
    private const string LockUser =
        """
        DECLARE @Lock int;
        DECLARE @UserLock nvarchar(255) = CONCAT(N'imagequeue:submit:', @Username);
        EXEC @Lock = sp_getapplock @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
        IF @Lock < 0
            THROW 51222, N'The user''s other submissions have not ended in time.', 1;
        """;

    private const string CountPending =
        $"""
        DECLARE @Pending int, @PendingWork float;
        SELECT @Pending = COUNT(*), @PendingWork = ISNULL(SUM(work), 0)
        FROM dbo.messages
        WHERE username = @Username AND {IsQueued};
        """;

    private const string IsFull = "(@Pending >= @MaxPending OR (@Pending > 0 AND @PendingWork + @Work > @MaxWork))";

    private const string FullOutcome = $"CASE WHEN @Pending >= @MaxPending THEN N'{SubmitOutcome.TooMany}' ELSE N'{SubmitOutcome.TooMuch}' END";

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

    /// <summary>What every new row has, and its conversation if that is new as well.</summary>
    private StatementParameters Row(string conversationId, string username, string title, string role, string content, MetadataPatch? metadata) => new StatementParameters()
        .AddText("@ConversationId", conversationId, NameSize)
        .AddText("@Username", username, NameSize)
        .AddText("@Title", ConversationTitle.From(title), 400)
        .AddText("@Role", role, 10)
        .AddText("@Content", content)
        .AddText("@Metadata", metadata?.ToDocument())
        .Add("@Now", Now());

    /// <summary>Ends the transaction where nothing is to be added; an ELSE has to follow.</summary>
    private const string EndIfForeignOrReplay =
        $"""
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
        """;

    /// <summary>
    /// Under the user's lock, which ends with the transaction, the limits hold and a repeated key finds the first one. A refused
    /// one leaves nothing behind.
    /// </summary>
    private const string Submit =
        $"""
        {Begin}
        {LockUser}
        {EnsureConversation}
        {CountPending}
        {EndIfForeignOrReplay}
        ELSE IF {IsFull}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT {FullOutcome} AS Outcome;
        END
        ELSE
        BEGIN
            {InsertRequest}
            COMMIT TRANSACTION;
        END
        """;
}
