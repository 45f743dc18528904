using System.Data;
using System.Reflection;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Messages;
using ImageQueue.Tests.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.SqlServer.TransactSql.ScriptDom;
using NUnit.Framework;

namespace ImageQueue.Tests.Sql;

/// <summary>
/// Every T-SQL statement that the product can send: recorded from the product's own code, never copied; parsed by Microsoft's
/// parsers for the oldest and the newest server, and resolved against the tables that the scripts make.
/// </summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed partial class SqlServerStatementTests
{
    private static readonly ImageResult Result = new(1, 64, 64, "m", TimeSpan.FromSeconds(1));

    /// <summary>Each method of the store, in each form that its statement takes.</summary>
    internal static readonly (string Method, Func<IMessageStore, Task> Call)[] Calls =
    [
        (
            nameof(IMessageStore.AddAsync),
            store => store.AddAsync(new NewMessage("c", "u", "user", "x", MetadataPatch.Parse("""{"a":1}""")), default)),
        (
            nameof(IMessageStore.AddAsync),
            store => store.AddAsync(new NewMessage("c", "u", "user", "x", null), new IdempotencyKey("key", "hash"), default)),
        (nameof(IMessageStore.ListBackwardsAsync), store => store.ListBackwardsAsync("c", 7, 10, default)),
        (nameof(IMessageStore.ListConversationsAsync), store => store.ListConversationsAsync("u", 7, 10, default)),
        (
            nameof(IMessageStore.SubmitAsync),
            store =>
                store.SubmitAsync(
                    new NewImageMessage("c", "u", "j", "p", new JsonObject { ["width"] = 64 }, 1, "key"), new UserLimits(20), default)),
        (
            nameof(IMessageStore.SubmitAsync),
            store =>
                store.SubmitAsync(
                    [.. Enumerable.Range(0, 3).Select(i => new NewImageMessage("c", "u", "j", "p", [], 1, $"key{i}")
                    {
                        Source = new ImageSource { UploadId = "a", MaskUploadId = "b" },
                        GroupId = "g",
                    })],
                    new UserLimits(20),
                    default)),
        (nameof(IMessageStore.AddUploadAsync), store => store.AddUploadAsync(new Upload("a", "c", 8, 8), default)),
        (nameof(IMessageStore.FindUploadAsync), store => store.FindUploadAsync("a", default)),
        (nameof(IMessageStore.ReleaseUploadsAsync), store => store.ReleaseUploadsAsync(1, default)),
        (nameof(IMessageStore.ForgetUploadsOfAsync), store => store.ForgetUploadsOfAsync("c", default)),
        (nameof(IMessageStore.ForgetUploadsAsync), store => store.ForgetUploadsAsync(["a", "b"], default)),
        (
            nameof(IMessageStore.ForgetUnusedUploadsAsync),
            store => store.ForgetUnusedUploadsAsync(["a", "b"], TimeSpan.FromDays(1), default)),
        (nameof(IMessageStore.AttachJobAsync), store => store.AttachJobAsync(1, "7", null, default)),
        (nameof(IMessageStore.AttachJobAsync), store => store.AttachJobAsync(1, "7", "6", default)),
        (nameof(IMessageStore.ClaimAsync), store => store.ClaimAsync(1, "7", null, null, default)),
        (nameof(IMessageStore.ClaimAsync), store => store.ClaimAsync(1, "7", "gpu1", "forge:gpu1", default)),
        (nameof(IMessageStore.ListLeasesAsync), store => store.ListLeasesAsync("forge:", default)),
        (nameof(IMessageStore.SaveProgressAsync), store => store.SaveProgressAsync(1, 1, 50, default)),
        (nameof(IMessageStore.SavePreviewAsync), store => store.SavePreviewAsync(1, 1, "/p", default)),
        (nameof(IMessageStore.CompleteAsync), store => store.CompleteAsync(1, 1, "c", "/u", "/t", Result, default)),
        (
            nameof(IMessageStore.CompleteAsync),
            store => store.CompleteAsync(1, 1, "c", "/u", "/t", Result with { Seed = null, Model = null }, default)),
        (
            nameof(IMessageStore.FailQueuedAsync),
            store => store.FailQueuedAsync(1, "c", new RequestFailure(ErrorCodes.NoBackend, "x"), default)),
        (
            nameof(IMessageStore.FailQueuedAsync),
            store => store.FailQueuedAsync(1, null, "c", new RequestFailure(ErrorCodes.NoBackend, "x"), default)),
        (
            nameof(IMessageStore.FailQueuedAsync),
            store => store.FailQueuedAsync(1, "7", "c", new RequestFailure(ErrorCodes.NoBackend, "x"), default)),
        (nameof(IMessageStore.FailAsync), store => store.FailAsync(1, 1, "c", new RequestFailure(ErrorCodes.BackendFailed, "x"), default)),
        (nameof(IMessageStore.CancelAsync), store => store.CancelAsync(1, "c", default)),
        (nameof(IMessageStore.NoteAsync), store => store.NoteAsync(1, RequestEventKinds.Prioritized, default)),
        (nameof(IMessageStore.CancelByHangfireJobAsync), store => store.CancelByHangfireJobAsync("7", "c", default)),
        (nameof(IMessageStore.RetryAsync), store => store.RetryAsync(1, 1, UserLimits.None, default)),
        (nameof(IMessageStore.RequeueAsync), store => store.RequeueAsync(1, 1, AttemptCharge.None, default)),
        (nameof(IMessageStore.RequeueAsync), store => store.RequeueAsync(1, 1, AttemptCharge.Failure, default)),
        (nameof(IMessageStore.RequeueAsync), store => store.RequeueAsync(1, 1, AttemptCharge.Disruption, default)),
        (nameof(IMessageStore.RequeueAsync), store => store.RequeueAsync(1, 1, AttemptCharge.Disruption, default, isAtTail: true)),
        (nameof(IMessageStore.AcquireLeasesAsync), store => store.AcquireLeasesAsync("h", ["a", "b"], TimeSpan.FromSeconds(15), default)),
        (nameof(IMessageStore.NoteLeaseAsync), store => store.NoteLeaseAsync("h", "a", "t", default)),
        (nameof(IMessageStore.ReleaseLeasesAsync), store => store.ReleaseLeasesAsync("h", ["a"], default)),
        (nameof(IMessageStore.UpdateMessageAsync), store => store.UpdateMessageAsync(1, null, null, default)),
        (nameof(IMessageStore.UpdateMessageAsync), store => store.UpdateMessageAsync(1, "c", null, default)),
        .. Rfc7396Table.All.Select(
            merge =>
                (
                    nameof(IMessageStore.UpdateMessageAsync),
                    new Func<IMessageStore, Task>(store => store.UpdateMessageAsync(1, "c", MetadataPatch.Parse(merge.Patch), default)))),
        (nameof(IMessageStore.SavePositionsAsync), store => store.SavePositionsAsync([new QueuedPosition(1, "7", 1)], default)),
        (nameof(IMessageStore.AttachJobsAsync), store => store.AttachJobsAsync([(1, "7", null), (2, "8", "6")], default)),
        (nameof(IMessageStore.EraseAsync), store => store.EraseAsync(1, default)),
        (nameof(IMessageStore.RenameConversationAsync), store => store.RenameConversationAsync("c", "t", default)),
        (nameof(IMessageStore.CloseConversationAsync), store => store.CloseConversationAsync("c", default)),
        (nameof(IMessageStore.ListClosedConversationsAsync), store => store.ListClosedConversationsAsync(10, default)),
        (nameof(IMessageStore.ForgetErasedAsync), store => store.ForgetErasedAsync(TimeSpan.FromDays(30), 10, default)),
        (nameof(IMessageStore.ListSilentAsync), store => store.ListSilentAsync(TimeSpan.FromSeconds(20), null, 10, default)),
        (nameof(IMessageStore.ListJoblessAsync), store => store.ListJoblessAsync(TimeSpan.FromSeconds(10), null, 10, default)),
        (nameof(IMessageStore.FindAsync), store => store.FindAsync(1, default)),
        (nameof(IMessageStore.FindConversationAsync), store => store.FindConversationAsync("c", default)),
        (nameof(IMessageStore.ListAsync), store => store.ListAsync("c", 0, 10, default)),
        (nameof(IMessageStore.ListByStatusAsync), store => store.ListByStatusAsync("queued", null, 10, default)),
        (nameof(IMessageStore.FindByHangfireJobAsync), store => store.FindByHangfireJobAsync("7", default)),
        (nameof(IMessageStore.FindByJobIdAsync), store => store.FindByJobIdAsync("j", default)),
        (nameof(IMessageStore.FindWaitingAsync), store => store.FindWaitingAsync(["7", "8"], default)),
        (nameof(IMessageStore.ListWaitingLongerAsync), store => store.ListWaitingLongerAsync(TimeSpan.FromMinutes(1), null, 10, default)),
        (nameof(IMessageStore.ListWaitingAsync), store => store.ListWaitingAsync(null, 10, default)),
        (nameof(IMessageStore.ListNewestAsync), store => store.ListNewestAsync("complete", 10, default)),
        (nameof(IMessageStore.CountAsync), store => store.CountAsync("queued", default)),
        (nameof(IMessageStore.ChangesSinceAsync), store => store.ChangesSinceAsync(0, null, 10, default)),
        (nameof(IMessageStore.ChangesSinceAsync), store => store.ChangesSinceAsync(0, "c", 10, default)),
        (nameof(IMessageStore.ListChangesAsync), store => store.ListChangesAsync(0, 10, default)),
        (nameof(IMessageStore.ChangeMarkAsync), store => store.ChangeMarkAsync(default)),
        (nameof(IMessageStore.ListAheadAsync), store => store.ListAheadAsync(1, 10, default)),
        (
            nameof(IMessageStore.SearchFinishedAsync),
            store => store.SearchFinishedAsync(new RequestSearch(["error"]), null, isNewer: false, 100, 5, default)),
        (
            nameof(IMessageStore.SearchFinishedAsync),
            store => store.SearchFinishedAsync(
                new RequestSearch(["error"], "x", "gpu1", "u", "7"), new FinishedCursor(default, 7), isNewer: true, 100, 5, default)),
        (
            nameof(IMessageStore.SearchUnfinishedAsync),
            store => store.SearchUnfinishedAsync(new RequestSearch(["queued"], "x", "gpu1", "u", "7"), 5, default)),
        (
            nameof(IMessageStore.ListMatchingAsync),
            store => store.ListMatchingAsync(new RequestSearch(["queued"], "x", "gpu1", "u", "7"), 3, 5, default)),
        (
            nameof(IMessageStore.CountMatchingAsync),
            store => store.CountMatchingAsync(new RequestSearch(["queued"], "x", "gpu1", "u", "7"), default)),
        (nameof(IMessageStore.ListWaitingUsersAsync), store => store.ListWaitingUsersAsync(5, default)),
        (nameof(IMessageStore.ReadEventsAsync), store => store.ReadEventsAsync([1, 2], default)),
        (nameof(IMessageStore.ListErrorsAsync), store => store.ListErrorsAsync(TimeSpan.FromDays(1), 5, default)),
        (nameof(IMessageStore.ReadStatisticsStateAsync), store => store.ReadStatisticsStateAsync(default)),
        (nameof(IMessageStore.ListSamplesAsync), store => store.ListSamplesAsync(default, default, default)),
        (nameof(IMessageStore.ListBackendResultsAsync), store => store.ListBackendResultsAsync(TimeSpan.FromDays(1), default)),
        (nameof(IMessageStore.CountSamplesAsync), store => store.CountSamplesAsync(TimeSpan.FromHours(1), default)),
        (
            nameof(IMessageStore.SaveStatisticsAsync),
            store =>
                store.SaveStatisticsAsync([new StatisticsRow(default, StatisticsKinds.Error, ErrorCodes.TimedOut, 1, null, 2)], default)),
        (nameof(IMessageStore.ListStatisticsAsync), store => store.ListStatisticsAsync(TimeSpan.FromDays(1), default)),
        (nameof(IMessageStore.ForgetStatisticsAsync), store => store.ForgetStatisticsAsync(default, default, 10, default)),
        (nameof(IMessageStore.ListPausesAsync), store => store.ListPausesAsync(default)),
        (nameof(IMessageStore.PauseAsync), store => store.PauseAsync("queue", "x", default)),
        (nameof(IMessageStore.ResumeAsync), store => store.ResumeAsync("queue", default)),
        (nameof(IMessageStore.ReadChangesAsync), store => store.ReadChangesAsync([1, 2], default)),
        (nameof(IMessageStore.LatestRevisionAsync), store => store.LatestRevisionAsync(default)),
    ];

    /// <summary>A new method of the store's must be called here too.</summary>
    [Test]
    public async Task Calls_SendAtLeastOneStatement_ForEveryMethodOfTheStore()
    {
        foreach (var method in typeof(IMessageStore).GetInterfaces().SelectMany(face => face.GetMethods()))
        {
            var calls = Calls.Where(call => call.Method == method.Name).ToList();
            Assert.That(calls, Is.Not.Empty, $"no call of {method.Name}");
            foreach (var (name, call) in calls)
                Assert.That(await SentByStoreAsync(call), Is.Not.Empty, $"{name} sent nothing");
        }
    }

    /// <summary>The bar itself.</summary>
    [Test]
    public async Task Statements_FitTheSchema_OnTheOldestAndTheNewestServer()
    {
        var statements = await AllAsync();

        Assert.That(statements, Has.Count.GreaterThan(30));
        Assert.That(SchemaModel.StatementProblems(statements), Is.Empty);
    }

    /// <summary>The test above must be able to fail: one name wrong in one statement, or one word of its grammar.</summary>
    [TestCase("hangfire_job_id = @HangfireJobId", "hangfire_id = @HangfireJobId")]
    [TestCase("queued_at IS NOT NULL", "queued_at IS NOT")]
    [TestCase("OUTPUT inserted.id", "OUTPUT inserted.key")]
    [TestCase("FROM OPENJSON(@Rows)", "FROM OPEN_JSON(@Rows)")]
    [TestCase("waiting.FetchedAt IS NULL", "waiting.Fetched IS NULL")]
    [TestCase("earlier.conversation_id = conversations.id", "earlier.conversation = conversations.id")]
    public async Task StatementProblems_AreFound_WhenOneStatementIsBroken(string right, string wrong)
    {
        var statements = await AllAsync();
        var broken = statements.Where(text => text.Contains(right, StringComparison.Ordinal))
            .Take(1)
            .Select(text => text.Replace(right, wrong, StringComparison.Ordinal))
            .ToList();

        Assert.That(broken, Is.Not.Empty, "no statement holds the text to break");
        Assert.That(SchemaModel.StatementProblems(broken), Is.Not.Empty);
    }

    /// <summary>What the independent parsers cannot know: the forms that the product keeps to.</summary>
    [Test]
    public async Task Statements_KeepToTheFormsOfTheReadme()
    {
        foreach (var text in await AllAsync())
        {
            Assert.That(text, Does.Not.Match(@"(?i)\bMERGE\b"), text);
            Assert.That(text, Does.Not.Match(@"(?is)\bUPDATE\s+\w+\s+SET\b(?!.*\bdbo\.)"), text);
            Assert.That(text, Does.Not.Match(@"(?i)\bCROSS APPLY\b"), text);
        }
    }

    /// <summary>Plans are shared, and indexes serve, only when parameters have their columns' types.</summary>
    [Test]
    public async Task Parameters_AreTyped_AsTheirColumnsAre()
    {
        var sent = new List<SentStatement>();
        foreach (var (_, call) in Calls)
            sent.AddRange(await SentByStoreAsync(call));

        var types = sent.SelectMany(statement => statement.Parameters)
            .Where(parameter => !MergeParameter.IsMatch(parameter.Name))
            .Select(
                parameter =>
                    (parameter.Name,
                        Type: $"{parameter.Type}({(parameter.Type == SqlDbType.DateTime2 ? parameter.Scale : parameter.Size)})"))
            .Distinct()
            .ToLookup(parameter => parameter.Name, parameter => parameter.Type);

        Assert.That(types.Where(types => types.Count() > 1).Select(types => types.Key), Is.Empty, "one name, one type");
        Assert.That(types["Id"], Is.EqualTo(new[] { "BigInt(0)" }));
        Assert.That(types["Now"], Is.EqualTo(new[] { "DateTime2(3)" }));
        Assert.That(types["Since"], Is.EqualTo(new[] { "VarBinary(8)" }));
        Assert.That(types["ConversationId"], Is.EqualTo(new[] { "NVarChar(100)" }));
        Assert.That(types["HangfireJobId"], Is.EqualTo(new[] { "NVarChar(100)" }));
        Assert.That(types["IdempotencyKey"], Is.EqualTo(new[] { "NVarChar(200)" }));
        Assert.That(types["RequestHash"], Is.EqualTo(new[] { "NVarChar(64)" }));
        Assert.That(types["Content"], Is.EqualTo(new[] { "NVarChar(-1)" }));
        Assert.That(types["Rows"], Is.EqualTo(new[] { "NVarChar(-1)" }));
        Assert.That(types["Attempt"], Is.EqualTo(new[] { "Int(0)" }));
    }

    /// <summary>
    /// Clocks of machines differ, by minutes at times. What is compared with time, silence, age, a lease's term, is written and
    /// judged by the server's clock alone; a time of a machine's own is written into created_at and updated_at, and never asked about.
    /// </summary>
    [Test]
    public async Task Statements_CompareNoTimes_OfTwoMachines()
    {
        foreach (var text in await AllAsync())
        {
            var times = new TimeFinder();
            TSqlSyntax.Parse(text).Accept(times);
            Assert.That(times.Compared.Except(["@QueuedAt", "@FinishedAt", "@LastAt"]), Is.Empty, text); // A place, read from a row.
            Assert.That(times.WrittenByMachines.Except(["created_at", "updated_at"]), Is.Empty, text);
        }

        var broken = new TimeFinder();
        TSqlSyntax.Parse("UPDATE dbo.messages SET heartbeat_at = @Now WHERE queued_at < @Now;").Accept(broken);
        Assert.That((broken.Compared.Single(), broken.WrittenByMachines.Single()), Is.EqualTo(("@Now", "heartbeat_at")));
    }

    /// <summary>Where a parameter meets a column that holds a time.</summary>
    private sealed class TimeFinder : TSqlFragmentVisitor
    {
        private static readonly string[] Times =
            ["created_at", "updated_at", "queued_at", "finished_at", "heartbeat_at", "expires_at", "deleted_at"];

        public List<string> Compared { get; } = [];

        public List<string> WrittenByMachines { get; } = [];

        public override void Visit(BooleanComparisonExpression node)
        {
            var (left, right) = (TSqlSyntax.TextOf(node.FirstExpression), TSqlSyntax.TextOf(node.SecondExpression));
            if (Times.Contains(left) && right.StartsWith('@'))
                Compared.Add(right);
            if (Times.Contains(right) && left.StartsWith('@'))
                Compared.Add(left);
        }

        public override void Visit(AssignmentSetClause node)
        {
            if (node.Column is { } column && Times.Contains(TSqlSyntax.TextOf(column)) && TSqlSyntax.TextOf(node.NewValue).StartsWith('@'))
                WrittenByMachines.Add(TSqlSyntax.TextOf(column));
        }

        public override void Visit(InsertSpecification node)
        {
            if (node.InsertSource is not ValuesInsertSource { RowValues: [var row] })
                return;
            for (var i = 0; i < row.ColumnValues.Count; i++)
            {
                if (Times.Contains(TSqlSyntax.TextOf(node.Columns[i])) && TSqlSyntax.TextOf(row.ColumnValues[i]).StartsWith('@'))
                    WrittenByMachines.Add(TSqlSyntax.TextOf(node.Columns[i]));
            }
        }
    }

    /// <summary>A text that is longer than its column must be refused or match nothing; cut, it would be another name.</summary>
    [Test]
    public async Task Parameters_AreNeverCut_WhenTheyAreTooLong()
    {
        var name = new string('a', 101);

        var sent = await SentByStoreAsync(store => store.FindConversationAsync(name, default));

        Assert.That(sent.Single().Parameters.Single(), Is.EqualTo(new SentParameter("ConversationId", SqlDbType.NVarChar, -1, 0, name)));
    }

    /// <summary>A message without metadata is counted too: a sum leaves out what is NULL.</summary>
    [Test]
    public async Task ChangesSince_CountsTheLengthOfEachRow()
    {
        var sent = await SentByStoreAsync(store => store.ChangesSinceAsync(0, null, 10, default));

        var text = sent.Single().Text.Replace("ISNULL(DATALENGTH(", "", StringComparison.Ordinal);
        Assert.That(text, Does.Not.Contain("DATALENGTH"));
    }

    /// <summary>Every transition is one trip.</summary>
    [Test]
    public async Task Calls_SendOneStatement_EachIncludingItsAnswer()
    {
        foreach (var (method, call) in Calls)
            Assert.That(await SentByStoreAsync(call), Has.Count.EqualTo(1), method);
    }

    /// <summary>A pass of many positions is cut into statements of bearable work.</summary>
    [Test]
    public async Task SavePositions_SendsSeveralStatements_WhenThereAreManyRows()
    {
        var positions = Enumerable.Range(1, 450).Select(i => new QueuedPosition(i, $"{i}", i)).ToList();

        Assert.That(await SentByStoreAsync(store => store.SavePositionsAsync(positions, default)), Has.Count.EqualTo(3));
    }

    /// <summary>The rows are asked of tables that are known; else Hangfire is asked.</summary>
    [TestCase(5, false)]
    [TestCase(6, true)]
    [TestCase(9, true)]
    [TestCase(10, false)]
    [TestCase(null, false)]
    public async Task QueueRows_AreReadFromHangfiresTables_WhenItsSchemaIsKnown(int? version, bool known)
    {
        var sent = new SentStatements { Scalar = _ => version, Table = _ => QueueRows() };
        var rows = new SqlServerQueueRows(Recorded(sent), TimeSpan.FromMinutes(5), QueueHost.InMemory(), NullLogger.Instance);

        var page = await rows.ReadAsync(0, QueuePlace.EndOf(1), 2, default);
        await rows.ReadAsync(QueuePlace.Of(1, 12), QueuePlace.EndOf(1), 2, default);

        Assert.That(
            page.Rows.Select(row => (row.Place, JobKey.Format(row.Job))),
            known ? Is.EqualTo(new[] { (QueuePlace.Of(1, 3), "12"), (QueuePlace.Of(1, 5), "7") }) : Is.Empty);
        Assert.That((page.UpTo, page.IsLast), Is.EqualTo(known ? (QueuePlace.Of(1, 5), false) : (long.MaxValue, true)));
        Assert.That(sent.All, Has.Count.EqualTo(known ? 3 : 1), "the version is asked once");
    }

    private static DataTable QueueRows()
    {
        var jobs = new DataTable();
        jobs.Columns.Add("Queue", typeof(string));
        jobs.Columns.Add("Id", typeof(long));
        jobs.Columns.Add("JobId", typeof(long));
        jobs.Columns.Add("User", typeof(string));
        jobs.Rows.Add(ImageJobs.QueueName, 3L, 12L, DBNull.Value);
        jobs.Rows.Add(ImageJobs.QueueName, 5L, 7L, DBNull.Value);
        return jobs;
    }

    /// <summary>Recorded from the store, the order and the installer, and every constant of theirs that is a statement by itself.</summary>
    internal static async Task<IReadOnlyList<string>> AllAsync()
    {
        var sent =
            new SentStatements
            {
                Scalar = text => text.Contains("rowversion", StringComparison.OrdinalIgnoreCase) ? null
                    : text.Contains("[Version]", StringComparison.Ordinal) ? 6 : 1,
                Table = _ => Ids(),
            };
        var store = new SqlServerMessageStore(Recorded(sent), TimeProvider.System, new AsyncSignal());
        foreach (var (_, call) in Calls)
            await QuietlyAsync(() => call(store));
        var rows = new SqlServerQueueRows(Recorded(sent), TimeSpan.FromMinutes(5), QueueHost.InMemory(), NullLogger.Instance);
        await QuietlyAsync(() => rows.ReadAsync(0, QueuePlace.EndOf(1), 10, default));
        await QuietlyAsync(() => rows.ReadAsync(QueuePage.Start, long.MaxValue, 10, default));
        await QuietlyAsync(() => rows.MoveAsync([new QueueMove(JobKey.Of(7), QueuePlace.Of(2, 3), 1)], default));
        var withUsers = new SqlServerQueueRows(
            Recorded(sent), TimeSpan.FromMinutes(5), QueueHost.InMemory(), NullLogger.Instance)
        { WithUsers = true };
        await QuietlyAsync(() => withUsers.ReadAsync(QueuePage.Start, long.MaxValue, 10, default));
        await QuietlyAsync(() => rows.TryMoveToFrontAsync("7", QueuePlace.Of(1, 3), default));
        await QuietlyAsync(() => Task.Run(() => rows.TryGiveBack("7")));
        var keys = new SqlServerKeyRing(Recorded(sent));
        await keys.AddAsync("key-1", "<key/>", default);
        await keys.ReadAllAsync(default);
        var installer = new SchemaInstaller(Recorded(sent), NullLogger.Instance);
        await installer.ApplyAsync(default);
        await installer.CheckAsync(default);

        // The scripts have tests of their own.
        var scripts = SchemaScripts.All.Append(SchemaScripts.Hangfire)
            .SelectMany(script => script.Batches)
            .ToHashSet(StringComparer.Ordinal);
        Assert.That(
            scripts.Except(sent.All.Select(statement => statement.Text)), Is.Empty, "the installer sends every batch of every script");
        return [
            .. sent.All.Select(statement => statement.Text).Where(text => !scripts.Contains(text)).Concat(Constants()).Distinct(
                StringComparer.Ordinal)];
    }

    /// <summary>Catches a statement that no recorded path sends, such as one that needs a server's error first.</summary>
    private static IEnumerable<string> Constants() => typeof(SqlServerMessageStore).Assembly.GetTypes()
        .Where(type => type.Namespace == typeof(SqlServerMessageStore).Namespace || type == typeof(SqlServerQueueRows))
        .SelectMany(type => type.GetFields(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
        .Where(field => field.IsLiteral && field.FieldType == typeof(string))
        .Select(field => (string)field.GetRawConstantValue()!)
        .Where(text => Statement.IsMatch(text)
            && !text.TrimEnd().EndsWith("BEGIN TRANSACTION;", StringComparison.Ordinal)
            && TSqlSyntax.Errors(text).Count == 0);

    internal static async Task<IReadOnlyCollection<SentStatement>> SentByStoreAsync(Func<IMessageStore, Task> call)
    {
        var sent = new SentStatements { Table = _ => Ids() };
        await QuietlyAsync(() => call(new SqlServerMessageStore(Recorded(sent), TimeProvider.System, new AsyncSignal())));
        return sent.All;
    }

    /// <summary>The answers mean nothing here, and some calls say so.</summary>
    private static async Task QuietlyAsync(Func<Task> call)
    {
        try
        {
            await call();
        }
        catch (Exception e) when (e is InvalidOperationException or MessageNotFoundException or ConversationDeletedException)
        {
            // What matters is what was sent.
        }
    }

    private static SqlServerConnections Recorded(SentStatements sent) => new(() => new RecordingConnection(sent));

    private static DataTable Ids()
    {
        var table = new DataTable();
        table.Columns.Add("Id", typeof(long));
        return table;
    }

    [GeneratedRegex(@"^m\d+$", RegexOptions.CultureInvariant)]
    private static partial Regex MergeParameter { get; }

    [GeneratedRegex(@"^\s*(SELECT|INSERT|UPDATE|DELETE|IF|DECLARE|EXEC|SET|CREATE|WITH|BEGIN)\s.*;\s*(END)?\s*$",
        RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex Statement { get; }
}
