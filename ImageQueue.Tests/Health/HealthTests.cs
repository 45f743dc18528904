using System.Text.Json.Nodes;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Storage;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Health;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Health;

/// <summary><c>/health</c> and the conditions behind it.</summary>
[Category(Categories.App)]
internal sealed class HealthTests
{
    private static readonly string[] Parts =
        ["database", "schema", "job_servers", "recurring_jobs", "leader", "queue", "backends", "models", "disk", "webhooks"];

    [Test]
    public async Task Ready_ShowsEachPart_AndReasonsToOperatorsOnly()
    {
        await using var app = await AuthApp.StartAsync();
        var (anonymous, client, reader) = (app.As(null), app.Client(), app.As(AuthApp.ReaderKey));

        await Until.TrueAsync(async () => (string?)(await ReadyAsync(anonymous)).Body["status"] == "healthy", "every part is healthy");
        var (status, seen) = await ReadyAsync(anonymous);
        Assert.That(status, Is.EqualTo(200));
        Assert.That(seen["parts"]!.AsObject().Select(part => part.Key), Is.EqualTo(Parts));
        Assert.That(seen["parts"]!.AsObject().Select(part => part.Value!.ToJsonString()), Is.All.EqualTo("""{"status":"healthy"}"""));
        Assert.That((await ReadyAsync(client)).Body["parts"]!["disk"]!["reason"], Is.Null);
        Assert.That((string?)(await ReadyAsync(reader)).Body["parts"]!["disk"]!["reason"], Does.EndWith(" GB free."));
        Assert.That(
            (await TestApp.ReadAsync(await anonymous.GetAsync("health/live"))).ToJsonString(),
            Does.Match("""^{"status":"healthy","version":"\d+\.\d+\.\d+[^"]*"}$"""));

        // An operator's pause does not degrade readiness, but is reported.
        await app.As(AuthApp.OperatorKey).PostAsync("api/queue/pause", null);
        await Until.TrueAsync(
            async () =>
                $"{(await ReadyAsync(reader)).Body["parts"]!["queue"]!["reason"]}".StartsWith(
                    "The queue is paused. (by the operator, since ", StringComparison.Ordinal),
            "the pause is reported");
        Assert.That((string?)(await ReadyAsync(reader)).Body["parts"]!["queue"]!["status"], Is.EqualTo("healthy"));
    }

    /// <summary>Seen before: readiness 200 while each submit got 503, since the disk was full and reading went on.</summary>
    [Test]
    public async Task DatabaseCheck_IsUnhealthy_WhenTheDatabaseCannotBeWritten()
    {
        var (store, database, time) = (new Mock<IMessageStore>(), new Mock<IMessageDatabase>(), new FakeTimeProvider());
        var isFull = false;
        store.Setup(one => one.AcquireLeasesAsync(
                It.IsAny<string>(), It.IsAny<IReadOnlyCollection<string>>(), It.IsAny<TimeSpan>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(() => isFull ? throw new StoreUnavailableException("The database cannot grow: the disk is full.", null!) : []);
        var check = new DatabaseCheck(store.Object, database.Object, time);
        Assert.That((await check.CheckHealthAsync(new HealthCheckContext())).Status, Is.EqualTo(HealthStatus.Healthy));

        isFull = true;
        time.Advance(TimeSpan.FromSeconds(10));

        var full = await check.CheckHealthAsync(new HealthCheckContext());
        Assert.That(
            (full.Status, full.Description), Is.EqualTo((HealthStatus.Unhealthy, "The database cannot grow: the disk is full. (: )")));
    }

    [Test]
    public async Task Ready_IsDegradedAndTakesRequests_WhenNoBackendAnswers()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Backends:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}", ["Forge:Backends:0:Name"] = "gpu1" });

        await Until.TrueAsync(
            async () =>
                $"{(await ReadyAsync(app.Http)).Body["parts"]!["backends"]!["reason"]}".Contains(
                    "gpu1 is unhealthy", StringComparison.Ordinal),
            "gpu1 has been probed");
        var (status, seen) = await ReadyAsync(app.Http);

        Assert.That(
            (status, (string?)seen["status"], (string?)seen["parts"]!["backends"]!["status"]), Is.EqualTo((200, "degraded", "degraded")));
        Assert.That(
            (string?)seen["parts"]!["backends"]!["reason"],
            Does.Match(@"^No backend is healthy\. Requests wait\. \(since .+\) Backend gpu1 is unhealthy: .*refused.*\. \(since .+\)$"));
        Assert.That((string?)(await app.SubmitAsync("bir gül"))["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Queued));
    }

    [Test]
    public async Task SweepConditions_AreFound_WhenTheSweepIsMissingChangedOrLate()
    {
        var (storage, time, readiness) = (
            new InMemoryStorage(), new FakeTimeProvider(TimeProvider.System.GetUtcNow()), new DatabaseReadiness());
        readiness.Set();
        var source = new SweepConditions(storage, readiness, time);
        var recurring = new RecurringJobManager(storage);
        var job = Job.FromExpression<Sweep>(sweep => sweep.RunAsync(CancellationToken.None));

        await ExpectAsync(source, "missing or was changed");
        recurring.AddOrUpdate(RecurringJobs.SweepId, job, RecurringJobs.SweepCron);
        await ExpectAsync(source, null);
        recurring.AddOrUpdate(RecurringJobs.SweepId, job, Cron.Never());
        await ExpectAsync(source, "missing or was changed");
        recurring.AddOrUpdate(RecurringJobs.SweepId, job, RecurringJobs.SweepCron);
        time.Advance(TimeSpan.FromMinutes(10));
        await ExpectAsync(source, "overdue");
    }

    [Test]
    public async Task ImageFileConditions_AreFound_WhenTheFolderCannotBeWritten()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "file");
        await File.WriteAllTextAsync(file, "no folder");

        await ExpectAsync(Source(Path.Combine(folder.Path, "images")), null);
        await ExpectAsync(Source(Path.Combine(file, "images")), "cannot be written");

        ImageFileConditions Source(string directory) =>
            new(new ImageFiles(
                Options.Create(new ImagesOptions { Directory = directory }), TimeProvider.System, NullLogger<ImageFiles>.Instance));
    }

    /// <summary>A condition without its own time holds since it was first seen, until it ends.</summary>
    [Test]
    public async Task SystemConditions_KeepSince_AndPutTheWorstFirst()
    {
        var time = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        var start = time.GetUtcNow();
        var source =
            new ListSource
            {
                Conditions = [new(ConditionCodes.ModelMissing, "m"), new(ConditionCodes.QueuePaused, "p", Stops: true, IsFault: false)],
            };
        var conditions = new SystemConditions([source, new FailingSource()], time, NullLogger<SystemConditions>.Instance);

        var first = await conditions.GetAsync(CancellationToken.None);
        time.Advance(TimeSpan.FromMinutes(5));
        var later = await conditions.GetAsync(CancellationToken.None);
        source.Conditions = [];
        time.Advance(TimeSpan.FromMinutes(5));
        await conditions.GetAsync(CancellationToken.None);
        source.Conditions = [new(ConditionCodes.ModelMissing, "m")];
        time.Advance(TimeSpan.FromMinutes(5));
        var again = await conditions.GetAsync(CancellationToken.None);

        string[] worstFirst = [ConditionCodes.DatabaseUnavailable, ConditionCodes.QueuePaused, ConditionCodes.ModelMissing];
        Assert.That(first.Select(one => one.Code), Is.EqualTo(worstFirst));
        Assert.That(later.Select(one => one.Since), Is.All.EqualTo(start));
        Assert.That(again.Select(one => (one.Code, one.Since)), Is.EqualTo(new[]
        {
            (ConditionCodes.DatabaseUnavailable, (DateTimeOffset?)start), (ConditionCodes.ModelMissing, start.AddMinutes(15)),
        }));
    }

    /// <summary>A hung mount holds a thread for good: one, and not another at each pass.</summary>
    [Test]
    public async Task SystemConditions_WaitForTheSameReading_WhenAPartDoesNotAnswer()
    {
        var time = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        var (answer, readings) = (new TaskCompletionSource<IReadOnlyList<SystemCondition>>(), 0);
        var source = new Mock<IConditionSource>();
        source.Setup(one => one.Part).Returns("disk");
        source.Setup(one => one.UnavailableCode).Returns(ConditionCodes.NotWritable);
        source.Setup(one => one.ReadAsync(It.IsAny<CancellationToken>())).Callback(() => readings++).Returns(() => answer.Task);
        var conditions = new SystemConditions([source.Object], time, NullLogger<SystemConditions>.Instance);

        var first = await ReadLateAsync();
        var second = await ReadLateAsync();

        Assert.That(readings, Is.EqualTo(1));
        Assert.That(
            first.Concat(second).Select(one => (one.Code, one.Text)),
            Is.All.EqualTo((ConditionCodes.NotWritable, "disk did not answer within 4 s.")));
        answer.SetResult([]);
        time.Advance(TimeSpan.FromSeconds(5));
        Assert.That(await conditions.GetAsync(CancellationToken.None), Is.Empty);

        async Task<IReadOnlyList<SystemCondition>> ReadLateAsync()
        {
            time.Advance(TimeSpan.FromSeconds(5)); // The last reading is old.
            var reading = conditions.GetAsync(CancellationToken.None);
            await Until.TrueAsync(() =>
            {
                time.Advance(TimeSpan.FromSeconds(1));
                return reading.IsCompleted;
            });
            return await reading;
        }
    }

    private static async Task ExpectAsync(IConditionSource source, string? text)
    {
        var found = await source.ReadAsync(CancellationToken.None);
        Assert.That(found.Select(one => one.Text), text is null ? Is.Empty : Has.One.Contains(text));
    }

    private sealed class ListSource : IConditionSource
    {
        public IReadOnlyList<SystemCondition> Conditions { get; set; } = [];

        public string Part => "list";

        public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) => Task.FromResult(Conditions);
    }

    private sealed class FailingSource : IConditionSource
    {
        public string Part => "failing";

        public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) =>
            throw new InvalidOperationException("no");
    }

    private static async Task<(int Status, JsonObject Body)> ReadyAsync(HttpClient http)
    {
        using var response = await http.GetAsync("health/ready");
        return ((int)response.StatusCode, await TestApp.ReadAsync(response));
    }
}
