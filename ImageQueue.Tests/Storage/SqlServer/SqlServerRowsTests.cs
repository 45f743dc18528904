using System.Data;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>Rows as SqlClient hands them over: <c>datetime2</c> without a zone, <c>rowversion</c> as eight bytes, NULL as DBNull.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class SqlServerRowsTests
{
    private static readonly DateTime At = new(2026, 11, 30, 12, 0, 0, 250, DateTimeKind.Unspecified);

    private static readonly DateTimeOffset Utc = new(DateTime.SpecifyKind(At, DateTimeKind.Utc));

    private static readonly (string Name, Type Type, object Value)[] Columns =
    [
        ("Id", typeof(long), 7L), ("ConversationId", typeof(string), "demo"), ("Username", typeof(string), "ayşe"),
        ("Role", typeof(string), "bot"), ("Content", typeof(string), "bir kedi"),
        ("ExtraMetadata", typeof(string), """{"status":"processing"}"""), ("CreatedAt", typeof(DateTime), At),
        ("UpdatedAt", typeof(DateTime), At.AddSeconds(1)), ("HangfireJobId", typeof(string), "12"), ("IdempotencyKey", typeof(string), "k"),
        ("RequestHash", typeof(string), "h"), ("Attempt", typeof(int), 2), ("Failures", typeof(int), 1), ("Disruptions", typeof(int), 3),
        ("Backend", typeof(string), "gpu1"), ("HeartbeatAt", typeof(DateTime), At.AddSeconds(2)),
        ("QueuedAt", typeof(DateTime), At.AddSeconds(3)), ("FinishedAt", typeof(DateTime), At.AddSeconds(4)),
        ("DeletedAt", typeof(DateTime), At.AddSeconds(5)), ("RevisionBytes", typeof(byte[]), new byte[] { 0, 0, 0, 0, 0, 0, 1, 2 }),
    ];

    private static readonly string[] Nullable =
    [
        "ExtraMetadata", "HangfireJobId", "IdempotencyKey", "RequestHash", "Backend", "HeartbeatAt", "QueuedAt", "FinishedAt", "DeletedAt",
    ];

    private static readonly Message Whole = new()
    {
        Id = 7,
        ConversationId = "demo",
        Username = "ayşe",
        Role = "bot",
        Content = "bir kedi",
        ExtraMetadata = """{"status":"processing"}""",
        CreatedAt = Utc,
        UpdatedAt = Utc.AddSeconds(1),
        HangfireJobId = "12",
        IdempotencyKey = "k",
        RequestHash = "h",
        Attempt = 2,
        Failures = 1,
        Disruptions = 3,
        Backend = "gpu1",
        HeartbeatAt = Utc.AddSeconds(2),
        QueuedAt = Utc.AddSeconds(3),
        FinishedAt = Utc.AddSeconds(4),
        DeletedAt = Utc.AddSeconds(5),
        Revision = 258,
    };

    private static readonly UserLimits Limits = new(MaxPending: 20, MaxWork: null);

    [Test]
    public async Task Message_HasEachColumn()
    {
        Assert.That(await Store(Messages()).FindAsync(7, default), Is.EqualTo(Whole));

        var empty = Whole with
        {
            ExtraMetadata = "{}",
            HangfireJobId = null,
            IdempotencyKey = null,
            RequestHash = null,
            Backend = null,
            HeartbeatAt = null,
            QueuedAt = null,
            FinishedAt = null,
            DeletedAt = null,
        };
        Assert.That(await Store(Messages(withNulls: true)).FindAsync(7, default), Is.EqualTo(empty));
    }

    [Test]
    public async Task Transition_HasTheWrittenRow_OrTheRowThatRefusedIt()
    {
        var applied = await Store(Messages()).CompleteAsync(7, 2, "x", "/images/x", null, new(1, 64, 64, "m", TimeSpan.Zero), default);
        var refused = await Store(Messages(rows: 0), Messages()).CancelAsync(7, "x", default);
        var gone = await Store(Messages(rows: 0), Messages(rows: 0)).CancelAsync(7, "x", default);

        Assert.That(
            (applied, refused, gone),
            Is.EqualTo((new Transition(true, Whole), new Transition(false, Whole), new Transition(false, null))));
    }

    [Test]
    public async Task Submit_HasTheRow_OrSaysWhyThereIsNone()
    {
        var message = new NewImageMessage("demo", "ayşe", new string('a', 32), "bir kedi", [], 1, "k") { RequestHash = "h" };

        var added = await Store(Messages("added")).SubmitAsync([message], Limits, default);
        var replayed = await Store(Messages("replay")).SubmitAsync([message], Limits, default);

        Assert.That(added, Is.EqualTo(new[] { new Submitted(Whole, IsReplay: false) }));
        Assert.That(replayed, Is.EqualTo(new[] { new Submitted(Whole, IsReplay: true) }));
        Assert.That(
            () => Store(Outcome("too many")).SubmitAsync([message], Limits, default), Throws.TypeOf<TooManyPendingException>());
        Assert.That(() => Store(Outcome("too many")).RetryAsync(7, 1, Limits, default), Throws.TypeOf<TooManyPendingException>());
    }

    [Test]
    public async Task Changes_HaveTheRow_AndASearchItsPlace()
    {
        var changes = Messages();
        changes.Columns.Add("BytesBefore", typeof(long));
        var search = new RequestSearch([MessageStatus.Complete]);

        var found = await Store(Rows((typeof(DateTime), At), (typeof(long), 7L)), Messages())
            .SearchFinishedAsync(search, null, isNewer: false, 9, 9, default);
        var last = await Store(Rows((typeof(DateTime), DBNull.Value), (typeof(long), DBNull.Value)), Messages(rows: 0))
            .SearchFinishedAsync(search, null, isNewer: false, 9, 9, default);

        Assert.That(
            (await Store(changes).ChangesSinceAsync(1, null, 9, default)).Select(change => change.Message), Is.EqualTo(new[] { Whole }));
        Assert.That(found.Requests.Select(change => change.Message), Is.EqualTo(new[] { Whole }));
        Assert.That((found.GoOn, last.GoOn), Is.EqualTo((new FinishedCursor(Utc, 7), (FinishedCursor?)null)));
    }

    [Test]
    public async Task Lists_HaveEachColumn()
    {
        Assert.Multiple(async () =>
        {
            Assert.That(
                await Store(Named(("Id", 7L), ("QueuedAt", At), ("HangfireJobId", "12"), ("Username", "ayşe"), ("QueuePosition", 3)))
                    .ListWaitingAsync(null, 9, default),
                Is.EqualTo(new[] { new WaitingRequest(7, Utc, "12", 3) { Username = "ayşe" } }));
            Assert.That(
                await Store(Rows((typeof(long), 7L), (typeof(string), "demo"), (typeof(byte[]), new byte[] { 0, 0, 0, 0, 0, 0, 1, 2 })))
                    .ListAheadAsync(1, 9, default),
                Is.EqualTo(new[] { new ChangedRow(7, "demo", 258) }));
            Assert.That(
                await Store(Named(("Id", "demo"), ("Username", "ayşe"), ("Title", DBNull.Value), ("CreatedAt", At)))
                    .FindConversationAsync("demo", default),
                Is.EqualTo(new Conversation("demo", "ayşe", null, Utc)));
            Assert.That(
                await Store(Rows(
                        (typeof(string), "demo"), (typeof(string), "ayşe"), (typeof(string), "T"), (typeof(DateTime), At),
                        (typeof(long), 7L), (typeof(DateTime), At)))
                    .ListConversationsAsync("ayşe", 9, 9, default),
                Is.EqualTo(new[] { new ConversationSummary(new Conversation("demo", "ayşe", "T", Utc), 7, Utc) }));
            Assert.That(
                await Store(Named(("Id", new string('b', 32)), ("ConversationId", "demo"), ("Width", 64), ("Height", 96)))
                    .FindUploadAsync(new string('b', 32), default),
                Is.EqualTo(new Upload(new string('b', 32), "demo", 64, 96)));
            Assert.That(
                await Store(Named(("Name", "a"), ("Holder", "h"), ("Note", DBNull.Value))).ListLeasesAsync("", default),
                Is.EqualTo(new[] { new HeldLease("a", "h", null) }));
            Assert.That(
                await Store(Rows((typeof(string), "a"), (typeof(string), "ops"), (typeof(DateTime), At))).ListPausesAsync(default),
                Is.EqualTo(new[] { new Pause("a", "ops", Utc) }));
            Assert.That(
                await Store(Rows((typeof(string), "ayşe"), (typeof(int), 3), (typeof(DateTime), At), (typeof(string), DBNull.Value)))
                    .ListWaitingUsersAsync(9, default),
                Is.EqualTo(new[] { new WaitingUser("ayşe", 3, Utc, null) }));
            Assert.That(
                await Store(Rows(
                        (typeof(long), 7L), (typeof(string), DBNull.Value), (typeof(string), "gpu1"), (typeof(DateTime), At),
                        (typeof(DateTime), At)))
                    .ListErrorsAsync(TimeSpan.FromDays(1), 9, default),
                Is.EqualTo(new[] { new RequestError(7, null, "gpu1", Utc, Utc) }));
        });
    }

    [Test]
    public async Task Statistics_HaveEachColumn()
    {
        Assert.Multiple(async () =>
        {
            Assert.That(
                await Store(Rows((typeof(DateTime), At), (typeof(DateTime), DBNull.Value), (typeof(DateTime), At)))
                    .ReadStatisticsStateAsync(default),
                Is.EqualTo(new StatisticsState(Utc, null, Utc)));
            Assert.That(
                await Store(Named(("at", At), ("kind", "complete"), ("code", "c"), ("seconds", 1.5))).ListSamplesAsync(Utc, Utc, default),
                Is.EqualTo(new[] { new StatisticsSample(Utc, "complete", "c", 1.5) }));
            Assert.That(
                await Store(Rows((typeof(string), "error"), (typeof(string), DBNull.Value), (typeof(int), 4)))
                    .CountSamplesAsync(TimeSpan.FromDays(1), default),
                Is.EqualTo(new[] { new SampleCount("error", null, 4) }));
            Assert.That(
                (await Store(Rows(
                        (typeof(DateTime), At), (typeof(string), "complete"), (typeof(string), ""), (typeof(int), 4),
                        (typeof(double), 1.5), (typeof(double), DBNull.Value)))
                    .ListStatisticsAsync(TimeSpan.FromDays(1), default)).Single(),
                Is.EqualTo(new StatisticsRow(Utc, "complete", "", 4, 1.5, null)));
            var results = (await Store(
                    Rows((typeof(string), "gpu1"), (typeof(string), "timed_out"), (typeof(int), 2)),
                    Rows((typeof(string), "gpu1"), (typeof(int), 5), (typeof(double), 1.5), (typeof(double), DBNull.Value)))
                .ListBackendResultsAsync(TimeSpan.FromDays(1), default)).Single();
            Assert.That(
                (results.Backend, results.Errors.Single()),
                Is.EqualTo(("gpu1", new KeyValuePair<string, int>("timed_out", 2))));
        });
    }

    private static SqlServerMessageStore Store(DataTable first, DataTable? next = null)
    {
        var sent = new SentStatements { Table = Answer, Next = _ => next ?? new DataTable() };
        return new SqlServerMessageStore(
            new SqlServerConnections(() => new RecordingConnection(sent)), TimeProvider.System, new AsyncSignal());

        DataTable Answer(string statement)
        {
            // The store finds message columns by the names that its statement gives them.
            foreach (var column in first.Columns.Cast<DataColumn>().Where(column => Columns.Any(known => known.Name == column.ColumnName)))
                Assert.That(statement, Does.Contain(column.ColumnName).IgnoreCase);
            return first;
        }
    }

    private static DataTable Messages(string? outcome = null, int rows = 1, bool withNulls = false)
    {
        var table = new DataTable();
        if (outcome is not null)
            table.Columns.Add("Outcome", typeof(string));
        foreach (var (name, type, _) in Columns)
            table.Columns.Add(name, type);
        var values = Columns.Select(column => withNulls && Nullable.Contains(column.Name) ? DBNull.Value : column.Value);
        for (var i = 0; i < rows; i++)
            table.Rows.Add([.. outcome is null ? values : values.Prepend(outcome)]);
        return table;
    }

    private static DataTable Outcome(string outcome) => Named(("Outcome", outcome));

    private static DataTable Named(params (string Name, object Value)[] columns)
    {
        var table = new DataTable();
        foreach (var (name, value) in columns)
            table.Columns.Add(name, value is DBNull ? typeof(string) : value.GetType());
        table.Rows.Add([.. columns.Select(column => column.Value)]);
        return table;
    }

    /// <summary>Columns that are read by their place.</summary>
    private static DataTable Rows(params (Type Type, object Value)[] columns)
    {
        var table = new DataTable();
        foreach (var (type, _) in columns)
            table.Columns.Add(new DataColumn { DataType = type });
        table.Rows.Add([.. columns.Select(column => column.Value)]);
        return table;
    }
}
