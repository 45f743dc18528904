using System.Diagnostics;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>How the process begins and ends: alone on its database, quickly, and with what an earlier one left.</summary>
[Category(Categories.Process)]
internal sealed class ProcessJourneyTests
{
    private TemporaryFolder _folder = null!; // Set before each test.

    [SetUp]
    public void SetUp() => _folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public async Task SecondProcess_RefusesToStart_UntilTheFirstIsGone()
    {
        await using var first = await AppProcess.StartAsync(_folder.Path, forge: null);

        await using (var second = AppProcess.Launch(_folder.Path, forge: null))
        {
            Assert.That(await second.ExitAsync(), Is.EqualTo(1));
            Assert.That(
                second.Output,
                Does.Contain("ImageQueue cannot start. Another ImageQueue is running on").And.Contain("ConnectionStrings:ImageQueue"));
            Assert.That(second.Output, Does.Not.Contain("   at "), "no stack dump");
        }

        // The system lets go of the lock of a process that could not do so itself.
        await first.KillAsync();
        await using var third = await AppProcess.StartAsync(_folder.Path, forge: null);
    }

    [TestCase("Shutdown__DrainTimeout", "soon", "Shutdown:DrainTimeout")]
    [TestCase("Shutdown__DrainTimeout", "02:00:00", "DrainTimeout")]
    [TestCase("ConnectionStrings__ImageQueue", "Data Source=/dev/null/imagequeue.db", "/dev/null")]
    [TestCase("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1", "Messages:Culture tr needs ICU")]
    public async Task WrongSetting_StopsTheStartWithASentence(string setting, string value, string sentence)
    {
        await using var app = AppProcess.Launch(_folder.Path, forge: null, new() { [setting] = value });

        Assert.That(await app.ExitAsync(), Is.EqualTo(1), app.Output);

        Assert.That(app.Output, Does.Contain("ImageQueue cannot start").And.Contain(sentence));
        Assert.That(app.Output, Does.Not.Contain("   at "), "no stack dump");
    }

    /// <summary>
    /// Database, keys and images hold what users wrote: only the app's own user reads them, unless the operator says otherwise.
    /// </summary>
    [TestCase("022", false)]
    [TestCase("027", true)]
    public async Task Files_AreReadableByTheirOwnerAlone_UnlessAUmaskIsSet(string mask, bool groupReads)
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("Windows has no umask; run this on Linux or macOS.");
            return;
        }

        var start = AppProcess.StartInfo(_folder.Path, forge: null);
        var command = $"umask {mask}; exec {start.FileName} exec '{start.ArgumentList[1]}'";
        start.FileName = "/bin/sh";
        start.ArgumentList.Clear();
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(command);
        await using var app = await AppProcess.StartAsync(start);
        await app.WaitForAsync((long)(await app.SubmitAsync("bir gül"))["id"]!, MessageStatus.Complete);

        string[] files = [];
        await Until.TrueAsync(
            () => (files = Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories)).Any(
                file => file.EndsWith(".png", StringComparison.Ordinal)), "the image has its final name");
        Assert.That(files, Has.Some.EndsWith(".db"));
        foreach (var file in files.Where(file => !file.Contains("/keys/", StringComparison.Ordinal)))
        {
            var mode = File.GetUnixFileMode(file);
            Assert.That(mode & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite), Is.EqualTo(UnixFileMode.None), file);
            // The database's files are their owner's whatever the umask is.
            if (!file.Contains("imagequeue.db", StringComparison.Ordinal))
                Assert.That((mode & UnixFileMode.GroupRead) != 0, Is.EqualTo(groupReads), file);
        }
    }

    [Test]
    public async Task Stop_IsQuick_WhenNothingIsGenerated()
    {
        await using var app = await AppProcess.StartAsync(_folder.Path, forge: null, new() { ["Shutdown__DrainTimeout"] = "00:02:00" });
        await app.WaitForAsync((long)(await app.SubmitAsync("bir gül"))["id"]!, MessageStatus.Complete);
        using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events");

        var took = await app.StopAsync();

        TestContext.Out.WriteLine($"Stopped in {took.TotalSeconds:0.00} s.");
        Assert.That(await app.ExitAsync(), Is.Zero, app.Output);
        Assert.That(took, Is.LessThan(TimeSpan.FromSeconds(50)), app.Output);
        Assert.ThrowsAsync<EndOfStreamException>(
            () => events.ReadAsync(), "the stream ends, so that the client comes back to the next process");
    }

    [Test]
    public async Task Stop_LetsTheImageFinish_WithinTheDrain()
    {
        await using var forge = await SimulatorServer.StartAsync(secondsPerImage: 40); // About 1 s for a small one.
        await using var app = await AppProcess.StartAsync(_folder.Path, forge.Address, new() { ["Shutdown__DrainTimeout"] = "00:02:00" });
        var generating = (long)(await app.SubmitAsync("a"))["id"]!;
        var waiting = (long)(await app.SubmitAsync("b"))["id"]!;
        await app.WaitForAsync(generating, MessageStatus.Processing);

        var took = await app.StopAsync();

        Assert.That(took, Is.LessThan(TimeSpan.FromSeconds(50)), "the drain ends with the image");
        await using var store = OpenStore();
        Assert.That((await store.FindAsync(generating, CancellationToken.None))!.Status, Is.EqualTo(MessageStatus.Complete), app.Output);
        Assert.That(
            (await store.FindAsync(waiting, CancellationToken.None))!.Status, Is.EqualTo(MessageStatus.Queued), "no new job is started");
    }

    [Test]
    public async Task Stop_GivesTheImageBack_AfterTheDrain()
    {
        await using var forge = await SimulatorServer.StartAsync();
        await using (
            var app = await AppProcess.StartAsync(_folder.Path, forge.Address, new() { ["Shutdown__DrainTimeout"] = "00:00:00.500" }))
        {
            var generating = (long)(await app.SubmitAsync($"a [fault:{SimulatorFaults.Stalled}*1]"))["id"]!;
            await app.WaitForAsync(generating, MessageStatus.Processing);

            Assert.That(await app.StopAsync(), Is.LessThan(TimeSpan.FromSeconds(40)), app.Output);

            await using var store = OpenStore();
            var row = (await store.FindAsync(generating, CancellationToken.None))!;
            Assert.That((row.Status, row.QueuePosition), Is.EqualTo((MessageStatus.Queued, 1)), app.Output);
            Assert.That(forge.Simulator.Stats.Snapshot().InterruptCalls, Is.Positive); // Sent again while the image still runs.
        }

        await using var next = await AppProcess.StartAsync(_folder.Path, forge.Address);
        foreach (var message in await next.ListAsync())
            await next.WaitForAsync((long)message["id"]!, MessageStatus.Complete);
        Assert.That(forge.Simulator.Stats.Snapshot().Received.Select(request => request.Task[32..]), Is.EqualTo(new[] { "-1", "-2" }));
    }

    [Test]
    public async Task Start_InterruptsTheOrphanedImage_AndRemovesTemporaryFiles()
    {
        await using var forge = await SimulatorServer.StartAsync();
        long generating;
        string leftOver;
        await using (var app = await AppProcess.StartAsync(_folder.Path, forge.Address))
        {
            var message = await app.SubmitAsync($"a [fault:{SimulatorFaults.Stalled}*1]");
            generating = (long)message["id"]!;
            await app.WaitForAsync(generating, MessageStatus.Processing);
            await Until.TrueAsync(() => forge.Simulator.Stats.Snapshot().InFlight == 1, "Forge generates");
            leftOver = Path.Combine(_folder.Path, "images", $"flux_{message["extra_metadata"]!["job_id"]}.1.tmp");
            await app.KillAsync();
        }

        Directory.CreateDirectory(Path.GetDirectoryName(leftOver)!);
        await File.WriteAllTextAsync(leftOver, "half an image");
        await using var next = await AppProcess.StartAsync(_folder.Path, forge.Address);

        await next.WaitForAsync(generating, MessageStatus.Complete);
        var stats = forge.Simulator.Stats.Snapshot();
        Assert.That((stats.Total, stats.InterruptCalls), Is.EqualTo((2, 1)), "the orphan would have kept Forge for ever");
        Assert.That(File.Exists(leftOver), Is.False);
    }

    [Test]
    public async Task PoisonousRequest_EndsInError_InsteadOfKillingEveryStart()
    {
        await using var forge = await SimulatorServer.StartAsync();
        var settings = new Dictionary<string, string> { ["Forge__MaxAttempts"] = "2" };
        long id = 0;
        for (var death = 0; death < 2; death++)
        {
            await using var app = await AppProcess.StartAsync(_folder.Path, forge.Address, settings);
            if (death == 0)
                id = (long)(await app.SubmitAsync($"a [fault:{SimulatorFaults.Stalled}]"))["id"]!;
            await Until.TrueAsync(() => forge.Simulator.Stats.Snapshot().Total == death + 1, "it is generated");
            await app.WaitForAsync(id, MessageStatus.Processing);
            await app.KillAsync();
        }

        await using var last = await AppProcess.StartAsync(_folder.Path, forge.Address, settings);

        var message = await last.WaitForAsync(id, MessageStatus.Error);
        Assert.That((string?)message["extra_metadata"]!["error"], Does.Contain("2 denemede"));
        Assert.That(forge.Simulator.Stats.Snapshot().Total, Is.EqualTo(2));
    }

    [Test]
    public Task Start_ServesAtOnce_WhileManyRowsWait() => ServesAtOnceAsync(rows: 3_000);

    [Test]
    [Explicit("Takes a minute or two. Prints its figures.")]
    public Task Start_ServesAtOnce_WhileAHundredThousandRowsWait() => ServesAtOnceAsync(rows: 100_000);

    private async Task ServesAtOnceAsync(int rows)
    {
        await using (var app = await AppProcess.StartAsync(_folder.Path, new Uri("http://127.0.0.1:9")))
        {
            // Makes the tables.
        }

        await FillAsync(rows);
        await using var forge = await SimulatorServer.StartAsync(secondsPerImage: 36_000);

        var started = Stopwatch.GetTimestamp();
        await using var next = await AppProcess.StartAsync(_folder.Path, forge.Address, new()
        {
            ["Queue__MaxLength"] = "1000000",
            ["Forge__Timeout"] = "10:00:00",
            ["Forge__StallTimeout"] = "10:00:00",
        });
        var listening = Stopwatch.GetElapsedTime(started);
        await next.GetAsync("api/messages/1");
        var answered = Stopwatch.GetElapsedTime(started);
        var late = await next.SubmitAsync("the last");
        var accepted = Stopwatch.GetElapsedTime(started);
        await using var store = OpenStore();
        await Until.TrueAsync(
            async () =>
                (await store.FindAsync((long)late["id"]!, CancellationToken.None))!.HangfireJobId is not null, "the last one has its job",
                TimeSpan.FromMinutes(3));
        var rebuilt = Stopwatch.GetElapsedTime(started);

        TestContext.Out.WriteLine(
            $"{rows} rows: listening after {listening.TotalSeconds:0.0} s, first answer {answered.TotalSeconds:0.0} s, first submit "
                + $"{accepted.TotalSeconds:0.0} s, rebuilt {rebuilt.TotalSeconds:0.0} s.");
        Assert.That(accepted, Is.LessThan(TimeSpan.FromSeconds(30)));
        await Until.TrueAsync(
            () => forge.Simulator.Stats.Snapshot().Total == 1, "Forge is asked");
        Assert.That(forge.Simulator.Stats.Snapshot().Received[0].Prompt, Is.EqualTo("row 7"), "what was being generated comes first");
        Assert.That((int)(await next.GetAsync("api/messages/1"))["queue"]!["position"]!, Is.EqualTo(1));
        Assert.That((int)(await next.GetAsync($"api/messages/{rows}"))["queue"]!["position"]!, Is.EqualTo(rows - 1));
        Assert.That((int)(await next.GetAsync($"api/messages/{late["id"]}"))["queue"]!["position"]!, Is.EqualTo(rows));
    }

    private SqliteMessageStore OpenStore() =>
        new($"Data Source={Path.Combine(_folder.Path, "imagequeue.db")}", TimeProvider.System, new AsyncSignal());

    /// <summary>Rows as a process leaves them that was killed while it generated the seventh.</summary>
    private async Task FillAsync(int rows)
    {
        await using var database = new SqliteConnection($"Data Source={Path.Combine(_folder.Path, "imagequeue.db")};Pooling=False");
        await database.OpenAsync();
        await using var fill = database.CreateCommand();
        fill.CommandText =
            """
            INSERT INTO conversations (id, username, created_at) VALUES ('demo', 'ayşe', '2026-11-01T00:00:00.000Z');
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @rows)
            INSERT INTO messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at,
                hangfire_job_id, attempt, revision)
            SELECT 'demo', 'ayşe', 'bot', '[IMAGE_PENDING]',
                json_object('status', iif(i = 7, 'processing', 'queued'), 'progress', 0, 'queue_position', i, 'job_id', printf('%032x', i),
                    'prompt', 'row ' || i, 'settings', json('{}')),
                '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z',
                strftime('%Y-%m-%dT%H:%M:%S.000Z', '2026-11-01', i || ' seconds'), printf('%08x-0000-4000-8000-000000000000', i), iif(i =
                    7, 1, 0), i
            FROM n;
            """;
        fill.Parameters.AddWithValue("@rows", rows);
        await fill.ExecuteNonQueryAsync();
    }
}
