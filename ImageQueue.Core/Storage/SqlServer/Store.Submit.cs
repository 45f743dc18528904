namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    /// <summary>How long a submit waits for the user's other submits.</summary>
    private static readonly TimeSpan UserLockTimeout = TimeSpan.FromSeconds(10);

    public async Task<IReadOnlyList<Submitted>> SubmitAsync(
        IReadOnlyList<NewImageMessage> messages, UserLimits limits, CancellationToken cancellationToken)
    {
        var first = messages[0];
        var parameters = Limits(
            Row(new(first.ConversationId, first.Username, MessageRole.Bot, MessagePatches.PendingContent, null), first.Prompt), limits,
            messages.Count).Add("@Work", first.Work)
            .AddText("@Why", null, RequestEvents.MaxWhy).AddText("@Actor", Actor.Current, Actor.MaxLength);
        for (var i = 0; i < messages.Count; i++)
        {
            parameters.AddText($"@Metadata{i}", MessagePatches.Submit(messages[i]).ToDocument())
                .AddText($"@IdempotencyKey{i}", messages[i].IdempotencyKey, IdempotencyKeySize)
                .AddText($"@RequestHash{i}", messages[i].RequestHash, RequestHashSize);
        }

        var usesUploads = first.Source?.Uploads is { Count: > 0 };
        if (usesUploads)
        {
            parameters.AddText("@UploadId", first.Source!.UploadId, UploadIdSize)
                .AddText("@MaskUploadId", first.Source.MaskUploadId, UploadIdSize).Add("@Uploads", first.Source.Uploads.Count);
        }

        var rows = await InsertAsync(Submit(messages.Count, usesUploads), parameters, cancellationToken);
        if (rows.Count == 0)
            throw new InvalidOperationException("The batch of a submit has answered nothing.");
        var outcome = rows[0].Outcome;
        ThrowIfFull(outcome, limits, messages.Count);
        switch (outcome)
        {
            case SubmitOutcome.Forbidden:
                throw await WhyForbiddenAsync(first.ConversationId, cancellationToken);
            case SubmitOutcome.Gone:
                throw SourceException.Gone(first.Source!, await FindUploadAsync(first.Source!.UploadId ?? "", cancellationToken) is null
                    ? first.Source.UploadId ?? ""
                    : first.Source.MaskUploadId ?? "");
            case SubmitOutcome.Replay:
                return [.. rows.Select(row => Replay(first, row.Message))];
            default:
                foreach (var _ in rows)
                    Metrics?.RecordSubmit();
                Signal.Raise();
                return [.. rows.Select(row => new Submitted(row.Message, IsReplay: false))];
        }
    }

    private const int IdempotencyKeySize = 200;

    /// <summary>
    /// The user's lock, which ends with the transaction, makes the limits hold and a repeated key find the first request. A refused submit
    /// leaves nothing behind.
    /// </summary>
    private static string Submit(int count, bool usesUploads) =>
        $"""
        {Begin}
        {LockUser}
        {EnsureConversation}
        {CountPending}
        {EndIfForeignOrReplay($"IN ({Keys(count)})")}
        ELSE IF {IsFull}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT {FullOutcome} AS Outcome;
        END
        ELSE
        BEGIN
            {(usesUploads ? UseUploads : "")}
            BEGIN
            {string.Join('\n', Enumerable.Range(0, count).Select(InsertRequest))}
            COMMIT TRANSACTION;
            END
        END
        """;

    private static string Keys(int count) =>
        string.Join(", ", Enumerable.Range(0, count).Select(number => FormattableString.Invariant($"@IdempotencyKey{number}")));

    // queued_at is by the server's clock: one clock for all machines, and the one that judges its age.
    private static string InsertRequest(int number) => FormattableString.Invariant(
        $"""
        INSERT INTO dbo.messages
                (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work,
                idempotency_key, request_hash, events)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES
                (@ConversationId, @Username, @Role, @Content, @Metadata{number}, @Now, @Now, SYSUTCDATETIME(), @Work,
                @IdempotencyKey{number}, @RequestHash{number}, {Line(RequestEventKinds.Submitted, attempt: "0")});
        """);

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

    private static StatementParameters Limits(StatementParameters parameters, UserLimits limits, int count) => parameters
        .Add("@Count", count)
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

    private const string IsFull =
        "(@Pending + @Count > @MaxPending OR (@Pending + @Count > 1 AND @PendingWork + @Count * @Work > @MaxWork))";

    private const string FullOutcome =
        $"CASE WHEN @Pending + @Count > @MaxPending THEN N'{SubmitOutcome.TooMany}' ELSE N'{SubmitOutcome.TooMuch}' END";

    private static void ThrowIfFull(string outcome, UserLimits limits, int count = 1)
    {
        if (outcome == SubmitOutcome.TooMany)
            throw TooManyPendingException.OfUser(limits.MaxPending, count);
        if (outcome == SubmitOutcome.TooMuch)
            throw TooManyPendingException.OfWork(limits.MaxWork!.Value); // The batch reports it only where there is such a limit.
    }
}
