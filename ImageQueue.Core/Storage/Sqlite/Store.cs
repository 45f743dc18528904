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
internal sealed partial class SqliteMessageStore : IMessageStore, IMessageDatabase, IAsyncDisposable
{
    /// <summary>How long another process may hold the file's lock before a write is refused.</summary>
    private static readonly TimeSpan BusyTimeout = TimeSpan.FromSeconds(5);

    private readonly string _connectionString;
    private readonly TimeProvider _time;
    private readonly AsyncSignal _signal;
    private readonly QueueMetrics? _metrics;
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
    {
        _metrics = metrics;
        _applySchema = applySchema;
        // The provider's shortest time-out; SQLite's own busy handler does the waiting.
        _connectionString = new SqliteConnectionStringBuilder(connectionString) { DefaultTimeout = 1, ForeignKeys = true }.ConnectionString;
        _time = time;
        _signal = signal;
        _writer = new SqliteWriter(Open, time);
    }

    /// <inheritdoc/>
    public string Location => Path.GetFullPath(new SqliteConnectionStringBuilder(_connectionString).DataSource);

    /// <inheritdoc/>
    public bool MayComeBack => false;

    /// <inheritdoc/>
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

    private const string Columns =
        """
        id AS Id, conversation_id AS ConversationId, username AS Username, role AS Role, content AS Content,
        extra_metadata AS ExtraMetadata, created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId,
        idempotency_key AS IdempotencyKey, request_hash AS RequestHash, attempt AS Attempt, failures AS Failures,
        disruptions AS Disruptions, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
        finished_at AS FinishedAt, deleted_at AS DeletedAt, revision AS Revision
        """;

    /// <summary>
    /// The part that every transition shares: merges the patch, sets the content if there is one, moves updated_at and the revision.
    /// </summary>
    private const string Merge =
        $"""
        extra_metadata = json_patch(ifnull(extra_metadata, '{EmptyObject}'), @Patch), content = ifnull(@Content, content), {Touch}
        """;

    private const string Touch = $"updated_at = @Now, revision = {NextRevision}";

    /// <summary>Adds a line to the row's <see cref="RequestEvents"/>. An UPDATE reads every column's old value.</summary>
    private static string Note(string what, string attempt = "attempt", string backend = "backend") => string.Create(
        CultureInfo.InvariantCulture,
        $"events = substr(ifnull(events, '') || {Line(what, attempt, backend)}, -{RequestEvents.MaxLength})");

    private static string Line(string what, string attempt = "attempt", string backend = "NULL") =>
        $"""
        @Now || char(9) || '{what}' || char(9) || {attempt} || char(9) || ifnull({backend}, '')
            || char(9) || ifnull(@Why, '') || char(9) || ifnull(@By, '') || char(10)
        """;

    private const string NextRevision = "(SELECT ifnull(max(revision), 0) + 1 FROM messages)";

    private const string EmptyObject = "{}";

    private async Task<Transition> TransitionAsync(
        string? operation,
        string update,
        Change change,
        CancellationToken cancellationToken,
        Action<SqliteConnection, Message>? andThen = null,
        Action<SqliteSession>? before = null,
        bool survivesPowerCut = true)
    {
        var transition = await _writer.RunAsync(
            session =>
            {
                before?.Invoke(session);
                var written = session.QuerySingleOrDefault(update, change.Parameters, MessageRow.Read);
                if (written is null)
                    return new Transition(false, Find(session.Connection, change.Id));
                var message = written.ToMessage();
                if (change.Sample is { } sample)
                    AddSample(session, change.Now, sample, message);
                andThen?.Invoke(session.Connection, message);
                return new Transition(true, message);
            },
            cancellationToken,
            survivesPowerCut);
        if (operation is not null)
            _metrics?.RecordTransition(transition, operation);
        if (transition.Applied)
            _signal.Raise();
        return transition;
    }

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

    private string Now() => Write(_time.GetUtcNow());

    private static string Write(DateTimeOffset time) => time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture);

    /// <summary>RFC 3339 in UTC with milliseconds: sorts as text.</summary>
    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    private static DateTimeOffset Time(string text) =>
        DateTimeOffset.ParseExact(text, TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);

    /// <summary>The parameters that a transition's statement may use.</summary>
    private sealed record Change(long Id, string Now, string? Patch = null, string? Content = null)
    {
        public int Attempt { get; init; }

        public string? HangfireJobId { get; init; }

        public string? Replaces { get; init; }

        public string? Backend { get; init; }

        public AttemptCharge Charge { get; init; }

        public string? Silent { get; init; }

        public int Progress { get; init; }

        public string? Why { get; init; }

        public string? By { get; } = Actor.Current;

        public SampleNote? Sample { get; init; }

        public (string Name, object? Value)[] Parameters =>
        [
            ("@Id", Id), ("@Now", Now), ("@Patch", Patch), ("@Content", Content), ("@Attempt", Attempt),
            ("@HangfireJobId", HangfireJobId), ("@Replaces", Replaces), ("@Progress", Progress), ("@Backend", Backend),
            ("@Failures", Charge == AttemptCharge.Failure ? 1 : 0), ("@Disruptions", Charge == AttemptCharge.Disruption ? 1 : 0),
            ("@Silent", Silent), ("@Why", RequestEvents.ToStored(Why)), ("@By", By),
        ];
    }

    private sealed class MessageRow
    {
        private static Func<DbDataReader, MessageRow>? _parser;

        /// <summary>Every transition returns <see cref="Columns"/>, so one Dapper parser serves all.</summary>
        public static MessageRow Read(DbDataReader reader) => (_parser ??= reader.GetRowParser<MessageRow>())(reader);

        public long Id { get; init; }

        public string ConversationId { get; init; } = "";

        public string Role { get; init; } = "";

        public string Content { get; init; } = "";

        public string? ExtraMetadata { get; init; }

        public string CreatedAt { get; init; } = "";

        public string UpdatedAt { get; init; } = "";

        public string? HangfireJobId { get; init; }

        public string? IdempotencyKey { get; init; }

        public string? RequestHash { get; init; }

        public long Attempt { get; init; }

        public long Failures { get; init; }

        public long Disruptions { get; init; }

        public string? Backend { get; init; }

        public string? HeartbeatAt { get; init; }

        public string? QueuedAt { get; init; }

        public string? FinishedAt { get; init; }

        public string? DeletedAt { get; init; }

        public long Revision { get; init; }

        public string Username { get; init; } = "";

        public Message ToMessage() => new()
        {
            Id = Id,
            ConversationId = ConversationId,
            Username = Username,
            Role = Role,
            Content = Content,
            ExtraMetadata = ExtraMetadata ?? EmptyObject,
            CreatedAt = Time(CreatedAt),
            UpdatedAt = Time(UpdatedAt),
            HangfireJobId = HangfireJobId,
            IdempotencyKey = IdempotencyKey,
            RequestHash = RequestHash,
            Attempt = (int)Attempt,
            Failures = (int)Failures,
            Disruptions = (int)Disruptions,
            Backend = Backend,
            HeartbeatAt = HeartbeatAt is null ? null : Time(HeartbeatAt),
            QueuedAt = QueuedAt is null ? null : Time(QueuedAt),
            FinishedAt = FinishedAt is null ? null : Time(FinishedAt),
            DeletedAt = DeletedAt is null ? null : Time(DeletedAt),
            Revision = Revision,
        };
    }

    private static List<Message> Messages(IEnumerable<MessageRow> rows) => rows.Select(row => row.ToMessage()).ToList();
}
