using System.Data.Common;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// The store for many machines. Each transition is one UPDATE with its guard in WHERE and its merge in one JSON_MODIFY expression
/// (<see cref="JsonModify"/>): atomic under the row's lock, and OUTPUT returns the row in the same round trip.
/// </summary>
internal sealed partial class SqlServerMessageStore(
    SqlServerConnections connections, TimeProvider time, AsyncSignal signal, QueueMetrics? metrics = null) : IMessageStore
{
    private readonly RowGate _gate = new(time);

    private const int HangfireJobIdSize = 100;

    private const string Columns =
        """
        id AS Id, conversation_id AS ConversationId, username AS Username, role AS Role, content AS Content,
            extra_metadata AS ExtraMetadata,
            created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
            request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, disruptions AS Disruptions, backend AS Backend,
            heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt, finished_at AS FinishedAt, deleted_at AS DeletedAt, revision AS Revision
        """;

    private const string Inserted =
        """
        inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.username AS Username, inserted.role AS Role,
            inserted.content AS Content, inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt,
            inserted.updated_at AS UpdatedAt, inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey,
            inserted.request_hash AS RequestHash, inserted.attempt AS Attempt,
            inserted.failures AS Failures, inserted.disruptions AS Disruptions, inserted.backend AS Backend,
            inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt, inserted.finished_at AS FinishedAt,
            inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
        """;

    private const string IsQueued = "queued_at IS NOT NULL AND status = N'queued'";

    private const string IsProcessing = "queued_at IS NOT NULL AND status = N'processing'";

    /// <summary>The fence: a worker that lost its request has an older attempt and writes nothing.</summary>
    private const string IsMine = $"{IsProcessing} AND attempt = @Attempt";

    private const string IsUnfinished = "queued_at IS NOT NULL AND status IN (N'queued', N'processing')";

    /// <summary>
    /// Adds a line to the row's <see cref="RequestEvents"/>, by the server's clock. An UPDATE reads every column's old value.
    /// </summary>
    private static string Note(string what, string attempt = "attempt", string backend = "backend") => FormattableString.Invariant(
        $"events = RIGHT(CONCAT(events, {Line(what, attempt, backend)}), {RequestEvents.MaxLength}), ");

    private static string Line(string what, string attempt = "attempt", string backend = "N''") =>
        $"""
        CONCAT(
                CONVERT(nchar(23), SYSUTCDATETIME(), 126), N'Z', NCHAR(9), N'{what}', NCHAR(9), {attempt}, NCHAR(9), {backend},
                NCHAR(9), @Why, NCHAR(9), @Actor, NCHAR(10))
        """;

    private static StatementParameters Why(string? why) => new StatementParameters()
        .AddText("@Why", RequestEvents.ToStored(why), RequestEvents.MaxWhy).AddText("@Actor", Actor.Current, Actor.MaxLength);

    /// <summary>
    /// One guarded UPDATE. <paramref name="set"/> has the columns beside the patch, each with a comma behind it;
    /// <paramref name="before"/>, which may end in an ELSE, and <paramref name="andThen"/> are statements of the same transaction.
    /// </summary>
    private Task<Transition> TransitionAsync(
        string? operation, long id, string set, MetadataPatch? patch, string? content, string guard, StatementParameters parameters,
        CancellationToken cancellationToken,
        string? andThen = null, string? before = null, UserLimits? limits = null, SampleNote? sample = null) =>
        _gate.RunAsync(
            id,
            () =>
                TransitionAsync(
                    operation,
                    "id = @Id",
                    set,
                    patch,
                    content,
                    guard,
                    parameters.Add("@Id", id),
                    cancellationToken,
                    andThen,
                    before,
                    limits,
                    sample),
            cancellationToken);

    private async Task<Transition> TransitionAsync(
        string? operation, string row, string set, MetadataPatch? patch, string? content, string guard, StatementParameters parameters,
        CancellationToken cancellationToken,
        string? andThen = null, string? before = null, UserLimits? limits = null, SampleNote? sample = null)
    {
        parameters.Add("@Now", Now());
        if (content is not null)
        {
            set += "content = @Content, ";
            parameters.AddText("@Content", content);
        }

        if (patch is not null)
        {
            var merge = JsonModify.For(patch);
            set += $"extra_metadata = {merge.Expression}, ";
            merge.AddTo(parameters);
        }

        var update =
            $"""
            UPDATE dbo.messages
            SET {set}updated_at = @Now
            OUTPUT {Inserted}
            WHERE {row}{(guard.Length == 0 ? "" : $" AND {guard}")};
            IF @@ROWCOUNT = 0
                SELECT {Columns} FROM dbo.messages WHERE {row} AND deleted_at IS NULL;
            """;
        if (sample is not null)
            andThen = AddSample(sample, row, parameters) + andThen;
        if (andThen is not null)
            update = $"{update}\nELSE\nBEGIN\n{andThen}\nEND";
        if (andThen is not null || before is not null)
            update = $"{Begin}\n{before}\nBEGIN\n{update}\nCOMMIT TRANSACTION;\nEND";
        var transition = await connections.RunAsync(
            connection => UpdateAsync(connection, update, parameters, limits, cancellationToken), cancellationToken);
        if (operation is not null)
            metrics?.RecordTransition(transition, operation);
        if (transition.Applied)
            signal.Raise();
        return transition;
    }

    private static async Task<Transition> UpdateAsync(
        DbConnection connection, string update, StatementParameters parameters, UserLimits? limits, CancellationToken cancellationToken)
    {
        // The first result is the written row; a second one comes only when the guard refused.
        await using var results = await connection.QueryMultipleAsync(new CommandDefinition(
            update, parameters, commandTimeout: (int)RowGate.MaxWait.TotalSeconds, cancellationToken: cancellationToken));
        if ((await results.ReadAsync<MessageRow>()).SingleOrDefault() is { } written)
        {
            if (limits is not null)
                ThrowIfFull(written.Outcome, limits);
            return new Transition(true, written.ToMessage());
        }

        return new Transition(false, (await results.ReadAsync<MessageRow>()).SingleOrDefault()?.ToMessage());
    }

    // XACT_ABORT: an error or a cancelled call rolls all of it back, and leaves no lock behind in the pool.
    private const string Begin =
        """
        SET XACT_ABORT ON;
        BEGIN TRANSACTION;
        """;

    private async Task<Message?> OneAsync(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(sql, parameters, cancellationToken)).SingleOrDefault();

    private Task<IEnumerable<MessageRow>> ManyAsync(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            connection => connection.QueryAsync<MessageRow>(Command(sql, parameters, cancellationToken)), cancellationToken);

    private static List<Message> Messages(IEnumerable<MessageRow> rows) => rows.Select(row => row.ToMessage()).ToList();

    private static CommandDefinition Command(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        new(sql, parameters, cancellationToken: cancellationToken);

    /// <summary>As the columns store it: UTC, cut to milliseconds.</summary>
    private DateTime Now() => Cut(time.GetUtcNow());

    private static DateTime Cut(DateTimeOffset time) =>
        new(time.UtcTicks - (time.UtcTicks % TimeSpan.TicksPerMillisecond), DateTimeKind.Utc);

    /// <summary>The one place where stored times, which carry no zone, become UTC.</summary>
    private static DateTimeOffset Utc(DateTime time) => new(DateTime.SpecifyKind(time, DateTimeKind.Utc));

    private sealed class MessageRow
    {
        /// <summary>Of a submit: one of <see cref="SubmitOutcome"/>.</summary>
        public string Outcome { get; init; } = "";

        public long Id { get; init; }

        public string ConversationId { get; init; } = "";

        public string Role { get; init; } = "";

        public string Content { get; init; } = "";

        public string? ExtraMetadata { get; init; }

        public DateTime CreatedAt { get; init; }

        public DateTime UpdatedAt { get; init; }

        public string? HangfireJobId { get; init; }

        public string? IdempotencyKey { get; init; }

        public string? RequestHash { get; init; }

        public int Attempt { get; init; }

        public int Failures { get; init; }

        public int Disruptions { get; init; }

        public string? Backend { get; init; }

        public DateTime? HeartbeatAt { get; init; }

        public DateTime? QueuedAt { get; init; }

        public DateTime? FinishedAt { get; init; }

        public DateTime? DeletedAt { get; init; }

        public byte[] Revision { get; init; } = [];

        public string Username { get; init; } = "";

        public Message ToMessage() => new()
        {
            Id = Id,
            ConversationId = ConversationId,
            Username = Username,
            Role = Role,
            Content = Content,
            ExtraMetadata = ExtraMetadata ?? "{}",
            CreatedAt = Utc(CreatedAt),
            UpdatedAt = Utc(UpdatedAt),
            HangfireJobId = HangfireJobId,
            IdempotencyKey = IdempotencyKey,
            RequestHash = RequestHash,
            Attempt = Attempt,
            Failures = Failures,
            Disruptions = Disruptions,
            Backend = Backend,
            HeartbeatAt = HeartbeatAt is { } heartbeat ? Utc(heartbeat) : null,
            QueuedAt = QueuedAt is { } queued ? Utc(queued) : null,
            FinishedAt = FinishedAt is { } finished ? Utc(finished) : null,
            DeletedAt = DeletedAt is { } deleted ? Utc(deleted) : null,
            Revision = RowVersion.ToInt64(Revision),
        };
    }
}
