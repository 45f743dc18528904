using System.Data.Common;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Telemetry;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// The embedded store: one SQLite file in WAL mode, merged by <c>json_patch</c>, which has the meaning of RFC 7396. A completed write is
/// on the disk (<c>synchronous=FULL</c>): neither a crash nor a power cut loses an accepted request. A power cut may lose which Hangfire
/// job a request has; those jobs are lost with the process in any case.
/// </summary>
internal sealed partial class SqliteMessageStore : MessageStore, IMessageStore, IAsyncDisposable
{
    private static readonly SqlDialect Words = new(
        Clock: "@Now",
        IsQueued,
        IsMine: "queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt",
        IsUnfinished: "queued_at IS NOT NULL AND status IN ('queued', 'processing')",
        IsRetryable,
        IsClaimable:
        """
        queued_at IS NOT NULL AND (status = 'queued' OR (status = 'processing' AND hangfire_job_id = @HangfireJobId AND (
            heartbeat_at IS NULL OR heartbeat_at <= strftime('%Y-%m-%dT%H:%M:%fZ', @Now, -(@Age / 1000.0) || ' seconds'))))
        """,
        StoredProgress: "CAST(ifnull(extra_metadata ->> '$.progress', 0) AS INTEGER)",
        NoteClaim: "UPDATE leases SET note = (SELECT job_id || '-' || attempt FROM messages WHERE id = @Id) WHERE name = @Lease");

    private const string IsQueued = "queued_at IS NOT NULL AND status = 'queued'";

    private const string IsRetryable = "queued_at IS NOT NULL AND status IN ('error', 'cancelled')";

    /// <summary>How long another process may hold the file's lock before a write is refused.</summary>
    private static readonly TimeSpan BusyTimeout = TimeSpan.FromSeconds(5);

    private readonly string _connectionString;
    private readonly TimeProvider _time;
    private readonly bool _applySchema;
    private readonly SqliteWriter _writer;
    private readonly UserShares _shares = new();
    private readonly Lock _marking = new();
    private SqliteCommand? _mark;

    /// <param name="connectionString">Of Microsoft.Data.Sqlite; <c>Data Source</c> is a file.</param>
    /// <param name="time">The clock for every stored time.</param>
    /// <param name="signal">Raised after every write of this process.</param>
    /// <param name="applySchema">Whether <see cref="PrepareAsync"/> creates what is missing.</param>
    public SqliteMessageStore(
        string connectionString, TimeProvider time, AsyncSignal signal, bool applySchema = true, QueueMetrics? metrics = null)
        : base(Words, signal, metrics)
    {
        _applySchema = applySchema;
        // The provider's shortest time-out; SQLite's own busy handler does the waiting.
        _connectionString = new SqliteConnectionStringBuilder(connectionString) { DefaultTimeout = 1, ForeignKeys = true }.ConnectionString;
        _time = time;
        _writer = new SqliteWriter(Open, time);
    }

    public string Location => Path.GetFullPath(new SqliteConnectionStringBuilder(_connectionString).DataSource);

    public Task PrepareAsync(CancellationToken cancellationToken)
    {
        if (_applySchema)
            CreateFile();
        Read(connection =>
        {
            SqliteSchema.Prepare(connection, _applySchema);
            return true;
        });
        _writer.Checkpoints.Truncate(); // A crash may have left erased content in the log.
        return Task.CompletedTask;
    }

    /// <summary>SQLite creates its log and index with the mode of the file.</summary>
    private void CreateFile()
    {
        if (Path.GetDirectoryName(Location) is { Length: > 0 } folder)
            PrivateFiles.CreateFolder(folder);
        try
        {
            if (!File.Exists(Location))
                PrivateFiles.OpenOrCreate(Location, FileShare.ReadWrite).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // SQLite meets the same fault next and reports it with a sentence.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _writer.DisposeAsync();
        lock (_marking)
            CloseMark();
        using var connection = new SqliteConnection(_connectionString);
        SqliteConnection.ClearPool(connection);
    }

    private const string NewestOfJob = "SELECT id FROM messages WHERE hangfire_job_id = @HangfireJobId ORDER BY id DESC LIMIT 1";

    private const string Columns =
        """
        id, conversation_id, username, role, content, extra_metadata, created_at, updated_at, hangfire_job_id, idempotency_key,
        request_hash, attempt, failures, disruptions, backend, heartbeat_at, queued_at, finished_at, deleted_at, revision
        """;

    private const string Touch = $"updated_at = @Now, revision = {NextRevision}";

    private const string NextRevision = "(SELECT ifnull(max(revision), 0) + 1 FROM messages)";

    private const string Merged = "json_patch(ifnull(extra_metadata, '{}'), @Patch)";

    protected override string Note(string what, string attempt = "attempt", string backend = "backend") => string.Create(
        CultureInfo.InvariantCulture,
        $"events = substr(ifnull(events, '') || {Line(what, attempt, backend)}, -{RequestEvents.MaxLength}), ");

    private static string Line(string what, string attempt = "attempt", string backend = "NULL") =>
        $"""
        @Now || char(9) || '{what}' || char(9) || ({attempt}) || char(9) || ifnull({backend}, '')
            || char(9) || ifnull(@Why, '') || char(9) || ifnull(@Actor, '') || char(10)
        """;

    protected override Task<Transition> WriteAsync(Change change, CancellationToken cancellationToken)
    {
        var now = Now();
        var row = change.Id is null ? $"id = ({NewestOfJob}) AND hangfire_job_id = @HangfireJobId" : "id = @Id";
        var patch = change.Patch is null ? "" : $"extra_metadata = {Merged}, ";
        var content = change.Content is null ? "" : "content = @Content, ";
        var update =
            $"""
            UPDATE messages SET {change.Set}{patch}{content}{Touch}
            WHERE {row} AND {change.Guard}
            RETURNING {Columns}
            """;
        (string Name, object? Value)[] parameters =
            [("@Id", change.Id), ("@Now", now), ("@Patch", change.Patch?.Json), ("@Content", change.Content), .. change.Parameters];
        return _writer.RunAsync(
            session =>
            {
                if (change.Patch == MessagePatches.Requeue)
                    _shares.Forget();
                if (change.Limits is not null)
                    AddRetryToShare(session, change.Id, change.Limits);
                foreach (var statement in change.Before)
                    session.Execute(statement, parameters);
                if (session.QuerySingleOrDefault(update, parameters, ReadMessage) is not { } written)
                {
                    var refused = $"SELECT {Columns} FROM messages WHERE {row} AND deleted_at IS NULL";
                    var named = change.Id is null ? parameters : parameters.AsSpan(0, 1); // The same at each call of the statement.
                    return new Transition(false, session.QuerySingleOrDefault(refused, named, ReadMessage));
                }

                if (change.Sample is not null)
                    AddSample(session, now, change.Sample, written);
                if (change.AndThen is not null)
                    session.Execute(change.AndThen, parameters);
                return new Transition(true, written);
            },
            cancellationToken,
            change.SurvivesPowerCut);
    }

    private static Func<DbDataReader, Message>? _parser;

    /// <summary>Every transition returns <see cref="Columns"/>, so one Dapper parser serves all.</summary>
    private static Message ReadMessage(DbDataReader reader) => (_parser ??= reader.GetRowParser<Message>())(reader);

    private Task<T> ReadAsync<T>(Func<SqliteConnection, T> query) => Task.FromResult(Read(query));

    private Task<T?> OneAsync<T>(string sql, object parameters) =>
        ReadAsync(connection => connection.QuerySingleOrDefault<T>(sql, parameters));

    private Task<IReadOnlyList<T>> ManyAsync<T>(string sql, object parameters) =>
        ReadAsync<IReadOnlyList<T>>(connection => connection.Query<T>(sql, parameters).AsList());

    /// <param name="map">Takes a tuple: Dapper converts SQLite's 64-bit integers there, and not for a constructor.</param>
    private Task<IReadOnlyList<T>> ManyAsync<TRow, T>(string sql, object parameters, Func<TRow, T> map) =>
        ReadAsync<IReadOnlyList<T>>(connection => [.. connection.Query<TRow>(sql, parameters).Select(map)]);

    /// <returns>How many rows were written.</returns>
    private Task<int> ExecuteAsync(string sql, object parameters, CancellationToken cancellationToken) =>
        _writer.RunAsync(session => session.Connection.Execute(sql, parameters), cancellationToken);

    private T Read<T>(Func<SqliteConnection, T> query)
    {
        try
        {
            using var connection = Open();
            return query(connection);
        }
        catch (SqliteException e)
        {
            throw SqliteErrors.Translate(e);
        }
    }

    private SqliteConnection Open()
    {
        var connection = new SqliteConnection(_connectionString);
        try
        {
            connection.Open();
            connection.Execute(
                $"PRAGMA busy_timeout = {(int)BusyTimeout.TotalMilliseconds}; "
                + "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private string Now() => Ago(TimeSpan.Zero);

    private string Ago(TimeSpan age) => StoredTime.Write(_time.GetUtcNow() - age);
}
