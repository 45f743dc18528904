using System.Data;
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
    SqlServerConnections connections, TimeProvider time, AsyncSignal signal, QueueMetrics? metrics = null)
    : MessageStore(Words, signal, metrics), IMessageStore
{
    private static readonly SqlDialect Words = new(
        Clock: "SYSUTCDATETIME()",
        IsQueued,
        IsMine: $"{IsProcessing} AND attempt = @Attempt",
        IsUnfinished: "queued_at IS NOT NULL AND status IN (N'queued', N'processing')",
        IsRetryable,
        IsClaimable: "queued_at IS NOT NULL AND (status = N'queued' OR (status = N'processing' AND hangfire_job_id = @HangfireJobId"
            + " AND (heartbeat_at IS NULL OR heartbeat_at <= DATEADD(millisecond, -@Age, SYSUTCDATETIME()))))",
        StoredProgress: "ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$.\"progress\"') AS int), 0)",
        NoteClaim);

    // The row is locked by this transaction.
    private const string NoteClaim =
        """
        DECLARE @Task nvarchar(100) = (SELECT CONCAT(job_id, N'-', attempt) FROM dbo.messages WHERE id = @Id);
        UPDATE dbo.imagequeue_leases SET note = @Task WHERE name = @Lease;
        """;

    private readonly RowGate _gate = new(time);

    private const int HangfireJobIdSize = 100;
    private const int BackendSize = 200;

    private const string Columns =
        """
        id AS Id, conversation_id AS ConversationId, username AS Username, role AS Role, content AS Content,
            extra_metadata AS ExtraMetadata,
            created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
            request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, disruptions AS Disruptions, backend AS Backend,
            heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt, finished_at AS FinishedAt, deleted_at AS DeletedAt,
            revision AS RevisionBytes
        """;

    private const string Inserted =
        """
        inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.username AS Username, inserted.role AS Role,
            inserted.content AS Content, inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt,
            inserted.updated_at AS UpdatedAt, inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey,
            inserted.request_hash AS RequestHash, inserted.attempt AS Attempt,
            inserted.failures AS Failures, inserted.disruptions AS Disruptions, inserted.backend AS Backend,
            inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt, inserted.finished_at AS FinishedAt,
            inserted.deleted_at AS DeletedAt, inserted.revision AS RevisionBytes
        """;

    private const string IsQueued = "queued_at IS NOT NULL AND status = N'queued'";

    private const string IsProcessing = "queued_at IS NOT NULL AND status = N'processing'";

    // Hangfire's ids begin at 1 again when its schema is reinstalled, beside rows with the same ids.
    private const string NewestOfJob =
        """
        hangfire_job_id = @HangfireJobId AND id = (
            SELECT TOP (1) id FROM dbo.messages WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL ORDER BY id DESC)
        """;

    protected override string Note(string what, string attempt = "attempt", string backend = "backend") => FormattableString.Invariant(
        $"events = RIGHT(CONCAT(events, {Line(what, attempt, backend)}), {RequestEvents.MaxLength}), ");

    private static string Line(string what, string attempt = "attempt", string backend = "N''") =>
        $"""
        CONCAT(
                CONVERT(nchar(23), SYSUTCDATETIME(), 126), N'Z', NCHAR(9), N'{what}', NCHAR(9), {attempt}, NCHAR(9), {backend},
                NCHAR(9), @Why, NCHAR(9), @Actor, NCHAR(10))
        """;

    protected override Task<Transition> WriteAsync(Change change, CancellationToken cancellationToken)
    {
        var row = change.Id is null ? NewestOfJob : "id = @Id";
        var (set, andThen) = (change.Set, change.AndThen);
        var parameters = new StatementParameters().Add("@Now", Now());
        foreach (var (name, value) in change.Parameters)
        {
            if (value is int number)
                parameters.Add(name, number);
            else
                parameters.AddText(name, (string?)value, SizeOf(name));
        }

        if (change.Content is not null)
        {
            set += "content = @Content, ";
            parameters.AddText("@Content", change.Content);
        }

        if (change.Patch is not null)
        {
            var merge = JsonModify.For(change.Patch);
            set += $"extra_metadata = {merge.Expression}, ";
            merge.AddTo(parameters);
        }

        var update =
            $"""
            UPDATE dbo.messages
            SET {set}updated_at = @Now
            OUTPUT {Inserted}
            WHERE {row} AND {change.Guard};
            IF @@ROWCOUNT = 0
                SELECT {Columns} FROM dbo.messages WHERE {row} AND deleted_at IS NULL;
            """;
        if (change.Sample is not null)
            andThen = AddSample(change.Sample, row, parameters) + andThen;
        if (andThen is not null)
            update = $"{update}\nELSE\nBEGIN\n{andThen}\nEND";
        var before = string.Join('\n', change.Before);
        if (change.Limits is { } limits)
            (before, parameters) = (LockRetry, Limits(parameters, limits, count: 1));
        if (andThen is not null || before.Length > 0)
            update = $"{Begin}\n{before}\nBEGIN\n{update}\nCOMMIT TRANSACTION;\nEND";
        if (change.Id is not { } id)
            return RunAsync();
        parameters.Add("@Id", id);
        return _gate.RunAsync(id, RunAsync, cancellationToken);

        Task<Transition> RunAsync() => connections.RunAsync(
            connection => UpdateAsync(connection, update, parameters, change.Limits, cancellationToken), cancellationToken);
    }

    private static int SizeOf(string parameter) => parameter switch
    {
        "@HangfireJobId" or "@Replaces" => HangfireJobIdSize,
        "@Backend" => BackendSize,
        "@Lease" => LeaseSize,
        "@Why" => RequestEvents.MaxWhy,
        "@Actor" => Actor.MaxLength,
        _ => throw new ArgumentException($"{parameter} has no size.", nameof(parameter)),
    };

    private static async Task<Transition> UpdateAsync(
        DbConnection connection, string update, StatementParameters parameters, UserLimits? limits, CancellationToken cancellationToken)
    {
        // The first result is the written row; a second one comes only when the guard refused.
        await using var reader = await connection.ExecuteReaderAsync(
            new CommandDefinition(
                update, parameters, commandTimeout: (int)RowGate.MaxWait.TotalSeconds, cancellationToken: cancellationToken),
            CommandBehavior.SequentialAccess);
        var written = await ReadAsync(reader, cancellationToken);
        await reader.NextResultAsync(cancellationToken); // Here comes an error that follows the row.
        if (written.Count == 0)
            return new Transition(false, (await ReadAsync(reader, cancellationToken)).SingleOrDefault().Message);
        if (limits is not null)
            ThrowIfFull(written[0].Outcome, limits);
        return new Transition(true, written[0].Message);
    }

    /// <returns>Messages; of a batch that says how it ended, each with that <see cref="SubmitOutcome"/>, or that alone.</returns>
    private static async Task<List<(string Outcome, Message Message)>> ReadAsync(DbDataReader reader, CancellationToken cancellationToken)
    {
        var rows = new List<(string, Message)>();
        var hasOutcome = reader.FieldCount > 0 && reader.GetName(0) == "Outcome";
        while (await reader.ReadAsync(cancellationToken))
            rows.Add((hasOutcome ? reader.GetString(0) : "", reader.GetRowParser<Message>()(reader)));
        return rows;
    }

    // XACT_ABORT: an error or a cancelled call rolls all of it back, and leaves no lock behind in the pool.
    private const string Begin =
        """
        SET XACT_ABORT ON;
        BEGIN TRANSACTION;
        """;

    private Task<T?> OneAsync<T>(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            connection => connection.QuerySingleOrDefaultAsync<T>(Command(sql, parameters, cancellationToken)), cancellationToken);

    private Task<IReadOnlyList<T>> ManyAsync<T>(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync<IReadOnlyList<T>>(
            async connection => (await connection.QueryAsync<T>(Command(sql, parameters, cancellationToken))).AsList(), cancellationToken);

    private async Task<IReadOnlyList<T>> ManyAsync<TRow, T>(
        string sql, StatementParameters parameters, Func<TRow, T> map, CancellationToken cancellationToken) =>
        [.. (await ManyAsync<TRow>(sql, parameters, cancellationToken)).Select(map)];

    private Task<T?> ScalarAsync<T>(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            connection => connection.ExecuteScalarAsync<T>(Command(sql, parameters, cancellationToken)), cancellationToken);

    /// <returns>How many rows were written.</returns>
    private Task<int> ExecuteAsync(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(connection => connection.ExecuteAsync(Command(sql, parameters, cancellationToken)), cancellationToken);

    private static CommandDefinition Command(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        new(sql, parameters, cancellationToken: cancellationToken);

    /// <summary>As the columns store it: UTC, cut to milliseconds.</summary>
    private DateTime Now() => Cut(time.GetUtcNow());

    private static DateTime Cut(DateTimeOffset time) =>
        new(time.UtcTicks - (time.UtcTicks % TimeSpan.TicksPerMillisecond), DateTimeKind.Utc);
}
