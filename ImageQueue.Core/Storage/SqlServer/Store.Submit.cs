using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    /// <summary>How long a submit waits for the user's other submits.</summary>
    private static readonly TimeSpan UserLockTimeout = TimeSpan.FromSeconds(10);

    public async Task<Submitted> SubmitAsync(NewImageMessage message, UserLimits limits, CancellationToken cancellationToken)
    {
        var submitted = await InsertAsync(
            Submit,
            Limits(
                Row(
                    message.ConversationId,
                    message.Username,
                    message.Prompt,
                    MessageRole.Bot,
                    MessagePatches.PendingContent,
                    MessagePatches.Submit(message)),
                limits)
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
                return message.IsSameRequestAs(earlier)
                    ? new Submitted(earlier, IsReplay: true)
                    : throw new IdempotencyKeyReusedException();
            default:
                metrics?.RecordSubmit();
                signal.Raise();
                return new Submitted(submitted.ToMessage(), IsReplay: false);
        }
    }

    /// <summary>
    /// The user's lock, which ends with the transaction, makes the limits hold and a repeated key find the first request. A refused submit
    /// leaves nothing behind.
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

    // queued_at is by the server's clock: one clock for all machines, and the one that judges its age.
    private const string InsertRequest =
        $"""
        INSERT INTO dbo.messages
                (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work,
                idempotency_key, request_hash)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES
                (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, SYSUTCDATETIME(), @Work,
                @IdempotencyKey, @RequestHash);
        """;

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            "retry", id,
            "queued_at = SYSUTCDATETIME(), finished_at = NULL, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, disruptions = 0, "
                + Note(RequestEventKinds.Retried),
            MessagePatches.Retry(queuePosition),
            MessagePatches.PendingContent,
            IsRetryable,
            Limits(Why(null), limits),
            cancellationToken,
            before: LockRetry,
            limits: limits);

    private const string IsRetryable = "queued_at IS NOT NULL AND status IN (N'error', N'cancelled')";

    // The limits, under a submit's lock. A request that is not retryable is refused by the UPDATE's guard below.
    private const string LockRetry =
        $"""
        DECLARE @Username nvarchar(100) = (SELECT username FROM dbo.messages WHERE id = @Id);
        {LockUser}
        {CountPending}
        DECLARE @Work float = (SELECT ISNULL(work, 0) FROM dbo.messages WHERE id = @Id AND {IsRetryable});
        IF @Work IS NOT NULL AND {IsFull}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT {FullOutcome} AS Outcome;
        END
        ELSE
        """;

    private static StatementParameters Limits(StatementParameters parameters, UserLimits limits) => parameters
        .Add("@LockTimeout", (int)UserLockTimeout.TotalMilliseconds)
        .Add("@MaxPending", limits.MaxPending)
        .Add("@MaxWork", limits.MaxWork);

    /// <summary>Serializes one user's submits over all machines.</summary>
    private const string LockUser =
        """
        DECLARE @Lock int;
        DECLARE @UserLock nvarchar(255) = CONCAT(N'imagequeue:submit:', @Username);
        EXEC @Lock = sp_getapplock
            @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
        IF @Lock = -3
            THROW 51224, N'Waiting for the lock was a deadlock.', 1;
        IF @Lock < 0
            THROW 51222, N'The user''s other submissions have not ended in time.', 1;
        """;

    private const string CountPending =
        $"""
        DECLARE @Pending int, @PendingWork float;
        SELECT @Pending = COUNT(*), @PendingWork = ISNULL(SUM(work), 0)
        FROM (SELECT TOP (@MaxPending) work FROM dbo.messages WHERE username = @Username AND {IsQueued}) AS counted;
        """;

    private const string IsFull = "(@Pending >= @MaxPending OR (@Pending > 0 AND @PendingWork + @Work > @MaxWork))";

    private const string FullOutcome =
        $"CASE WHEN @Pending >= @MaxPending THEN N'{SubmitOutcome.TooMany}' ELSE N'{SubmitOutcome.TooMuch}' END";

    private static void ThrowIfFull(string outcome, UserLimits limits)
    {
        if (outcome == SubmitOutcome.TooMany)
            throw TooManyPendingException.OfUser(limits.MaxPending);
        if (outcome == SubmitOutcome.TooMuch)
            throw TooManyPendingException.OfWork(limits.MaxWork!.Value); // The batch reports it only where there is such a limit.
    }
}
