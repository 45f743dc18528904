using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Dapper;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Storage;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Dashboard;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

/// <summary>
/// On the embedded default what has ended is in Hangfire's lists after a restart, with its pages and its times, and can be retried.
/// </summary>
[Category(Categories.App)]
internal sealed partial class FinishedJobsTests
{
    private static readonly object Small = new { width = 64, height = 64, steps = 2 };

    [Test]
    public async Task FinishedRequests_AreInTheDashboard_AfterARestart_AndCanBeRetried()
    {
        using var folder = new TemporaryFolder();
        await using var forge = await SimulatorServer.StartAsync();
        long complete, failed, again, cancelled;
        Dictionary<long, Message> before;
        await using (var first = await StartAsync(folder, forge))
        {
            complete = await SubmitAsync(first, "bir gül");
            failed = await SubmitAsync(first, "bir kedi [fault:oom*1]");
            again = await SubmitAsync(first, "bir gemi [fault:oom*1]");
            await first.JobStateAsync(complete, SucceededState.StateName);
            await first.JobStateAsync(failed, FailedState.StateName);
            await first.JobStateAsync(again, FailedState.StateName);
            (await first.Http.PostAsync("api/queue/pause", null)).Dispose();
            cancelled = await SubmitAsync(first, "bir kuş");
            (await first.Http.PostAsync($"api/messages/{cancelled}/cancel", null)).Dispose();
            await first.JobStateAsync(cancelled, DeletedState.StateName);
            (await first.Http.PostAsync("api/queue/resume", null)).Dispose();
            before = await RowsAsync(first, complete, failed, again, cancelled);
        }

        await using var second = await StartAsync(folder, forge);
        await second.JobStateAsync(complete, SucceededState.StateName);
        await second.JobStateAsync(failed, FailedState.StateName);
        await second.JobStateAsync(again, FailedState.StateName);
        await second.JobStateAsync(cancelled, DeletedState.StateName);

        var rows = await RowsAsync(second, complete, failed, again, cancelled);
        foreach (var (id, row) in rows)
        {
            Assert.That(
                row with { HangfireJobId = null },
                Is.EqualTo(before[id] with { HangfireJobId = null }),
                "no message changes, and no watcher gets an event");
            Assert.That(row.HangfireJobId, Is.Not.EqualTo(before[id].HangfireJobId));
        }

        // The lists say whose they are, and when they ended.
        var texts = second.Services.GetRequiredService<MessageTexts>();
        foreach (var (list, id, words) in new[]
        {
            ("succeeded", complete, "bir gül"),
            ("failed", failed, "bir kedi"),
            ("deleted", cancelled, "bir kuş"),
        })
        {
            var page = await TextAsync(second, $"jobs/{list}");
            Assert.That(page, Does.Contain($"Image {id} · ayşe · {words}"), list);
            Assert.That(
                Seconds(page),
                Does.Contain(rows[id].UpdatedAt.ToUnixTimeSeconds()),
                $"{list} says when it ended, and not when the app was started");
            var details = await TextAsync(second, $"jobs/details/{rows[id].HangfireJobId}");
            Assert.That(details, Does.Contain(words).And.Contain("Timeline"));
            Assert.That(
                Seconds(details), Does.Contain(rows[id].CreatedAt.ToUnixTimeSeconds()).And.Contain(rows[id].UpdatedAt.ToUnixTimeSeconds()));
        }

        Assert.That(await TextAsync(second, "jobs/failed"), Does.Contain(texts.OutOfMemory).And.Not.Contain(" at ImageQueue."));
        var statistics = second.Services.GetRequiredService<JobStorage>().GetMonitoringApi();
        // The minute's sweep is a job too, and may have run by now.
        Assert.That(statistics.SucceededJobs(0, 10).Select(job => job.Value.Job.Type), Has.One.EqualTo(typeof(IImageJob)));
        Assert.That((statistics.FailedCount(), statistics.DeletedListCount()), Is.EqualTo((2, 1)));
        await Until.TrueAsync(
            () => statistics.SucceededListCount() is var listed && statistics.GetStatistics().Succeeded == listed
                && statistics.SucceededByDatesCount().Values.Sum() == listed && statistics.GetStatistics().Deleted == 1,
            "the counters agree with the lists");
        Assert.That(forge.Simulator.Stats.Snapshot().Total, Is.EqualTo(3), "nothing is generated for it");

        // An operator's retry, and a user's.
        var dashboard = second.Services.GetRequiredService<IBackgroundJobClient>();
        Assert.That(
            dashboard.ChangeState(rows[failed].HangfireJobId, new EnqueuedState { Reason = "Triggered via Dashboard UI" }, null), Is.True);
        (await second.Http.PostAsync($"api/messages/{again}/retry", null)).Dispose();
        foreach (var id in new[] { failed, again })
        {
            await second.WaitForAsync(id, MessageStatus.Complete);
            await second.JobStateAsync(id, SucceededState.StateName);
        }

        // The job that a user's retry has left behind: clicked on, it does nothing.
        dashboard.ChangeState(rows[again].HangfireJobId, new EnqueuedState { Reason = "Triggered via Dashboard UI" }, null);
        await Until.TrueAsync(() => !second.Services.GetRequiredService<ImageJobs>().WillRun(rows[again].HangfireJobId!), "it is over");
        Assert.That((await RowsAsync(second, again))[again].Status, Is.EqualTo(MessageStatus.Complete));
        Assert.That(forge.Simulator.Stats.Snapshot().Total, Is.EqualTo(5), "each is generated once more, and once only");
        Assert.That(second.Log.Of(LogLevel.Warning), Is.Empty);
    }

    /// <summary>Of ten thousand the newest thousand of each kind; the start, and what waits, do not wait for it.</summary>
    [Test]
    public async Task NewestThousandOfEachKind_AreRestoredSoon_WhenThereAreTenThousand()
    {
        await using var bench = await Bench.CreateAsync();
        await FillAsync(bench, 10_000);
        var restore = bench.Get<RestoreFinishedJobs>();
        var started = Stopwatch.GetTimestamp();

        var restored = await restore.RestoreAsync(CancellationToken.None);

        TestContext.Out.WriteLine($"{restored} jobs in {Stopwatch.GetElapsedTime(started).TotalMilliseconds:0} ms");
        Assert.That(restored, Is.EqualTo(3 * RestoreFinishedJobs.Newest));
        var storage = new DashboardStorage(bench.Get<JobStorage>());
        var monitor = storage.GetMonitoringApi();
        var newest = (await bench.Store.ListNewestAsync(MessageStatus.Error, RestoreFinishedJobs.Newest, CancellationToken.None)).ToList();
        var listed = monitor.FailedJobs(0, RestoreFinishedJobs.Newest);
        Assert.That(listed.Select(job => job.Value.Job.Args[0]), Is.EqualTo(newest.Select(message => message.Id)), "the newest first");
        Assert.That(
            listed.Select(job => job.Value.FailedAt), Is.EqualTo(newest.Select(message => message.FinishedAt?.UtcDateTime)));
        Assert.That(monitor.GetStatistics().Succeeded, Is.EqualTo(RestoreFinishedJobs.Newest));
        Assert.That(monitor.SucceededJobs(0, 1)[0].Value.TotalDuration, Is.EqualTo(60_000), "from the row's times");

        Assert.That(await restore.RestoreAsync(CancellationToken.None), Is.Zero, "what has its job gets no other");
    }

    /// <summary>It is decoration: seen before was a process that ended a second after each start.</summary>
    [Test]
    public async Task RowWithATimeThatDoesNotParse_EndsNothing()
    {
        using var folder = new TemporaryFolder();
        await using (var bench = await Bench.CreateAsync(folder: folder))
        {
            await FillAsync(bench, 6);
            using var connection = new SqliteConnection($"Data Source={bench.Get<IMessageDatabase>().Location}");
            await connection.ExecuteAsync("UPDATE messages SET updated_at = 'yesterday' WHERE id = 3");
        }

        await using var forge = await SimulatorServer.StartAsync();
        await using var app = await StartAsync(folder, forge);

        await Until.TrueAsync(
            () => app.Log.Of(LogLevel.Warning).Any(line => line.Contains("Restoring finished jobs", StringComparison.Ordinal)),
            "it is said");
        var id = await SubmitAsync(app, "bir gül");
        await app.WaitForAsync(id, MessageStatus.Complete);
        Assert.That(
            app.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested, Is.False);
    }

    /// <summary>A client retries a request while its old job is restored.</summary>
    [Test]
    public async Task RequestRetriedMeanwhile_KeepsItsNewJob()
    {
        await using var bench = await Bench.CreateAsync();
        await FillAsync(bench, 6);
        var row = (await bench.Store.ListNewestAsync(MessageStatus.Error, 1, CancellationToken.None)).Single();
        await bench.Store.RetryAsync(row.Id, 1, UserLimits.None, CancellationToken.None);

        var refused = await bench.Get<Core.Storage.Sqlite.SqliteMessageStore>().ReplaceEndedJobsAsync(
            [(row.Id, "new", row.HangfireJobId)], CancellationToken.None);

        Assert.That(refused, Is.EqualTo(new[] { row.Id }));
        Assert.That((await bench.Store.FindAsync(row.Id, CancellationToken.None))!.HangfireJobId, Is.Null);
    }

    private static async Task FillAsync(Bench bench, int count)
    {
        await bench.Get<IMessageDatabase>().PrepareAsync(CancellationToken.None);
        using var connection = new SqliteConnection($"Data Source={bench.Get<IMessageDatabase>().Location}");
        await connection.ExecuteAsync(
            """
            INSERT INTO conversations (id, username, created_at) VALUES ('c', 'ayşe', '2026-11-01T00:00:00.000Z');
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @count)
            INSERT INTO messages (conversation_id, username, role, content, created_at, queued_at, updated_at, finished_at,
                hangfire_job_id, attempt, revision,
                extra_metadata)
            SELECT 'c', 'ayşe', 'bot', 'x',
                strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-01', '+' || i || ' seconds'), strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-01', '+' || i
                    || ' seconds'),
                '2026-11-02T00:00:00.000Z', strftime('%Y-%m-%dT%H:%M:%fZ', '2026-11-01', '+' || (i + 60) || ' seconds'), 'lost-' || i, 1, i,
                json_object('status', CASE i % 3 WHEN 0 THEN 'complete' WHEN 1 THEN 'error' ELSE 'cancelled' END, 'job_id', printf('%032x',
                    i), 'prompt', 'bir kedi',
                    'error', 'Olmadı.', 'result', json_object('duration_seconds', 12.5))
            FROM n
            """,
            new { count });
    }

    private static Task<TestApp> StartAsync(TemporaryFolder folder, SimulatorServer forge) => TestApp.StartAsync(
        new() { ["Forge:Backends:0:Url"] = forge.Address.AbsoluteUri, ["Forge:Simulator:Enabled"] = "false" }, folder);

    private static async Task<long> SubmitAsync(TestApp app, string prompt) => (long)(await app.SubmitAsync(prompt, more: Small))["id"]!;

    private static async Task<Dictionary<long, Message>> RowsAsync(TestApp app, params long[] ids)
    {
        var rows = await app.Services.GetRequiredService<IFeedStore>().ReadChangesAsync(ids, CancellationToken.None);
        return rows.ToDictionary(row => row.Message.Id, row => row.Message);
    }

    private static async Task<string> TextAsync(TestApp app, string path) =>
        WebUtility.HtmlDecode(await app.Http.GetStringAsync($"hangfire/{path}"));

    private static List<long> Seconds(string page) =>
        [.. Moment.Matches(page).Select(match => long.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture))];

    [GeneratedRegex("data-moment(?:-title)?=\"([0-9]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex Moment { get; }
}
