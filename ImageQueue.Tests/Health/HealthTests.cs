using System.Text.Json.Nodes;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Health;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Health;

/// <summary>What <c>/health</c> says, to whom; and that broken is not dead.</summary>
[Category(Categories.App)]
internal sealed class HealthTests
{
    private static readonly string[] Parts = ["database", "schema", "job_servers", "recurring_jobs", "forges", "disk"];

    [Test]
    public async Task Ready_ShowsEachPart_AndReasonsToOperatorsOnly()
    {
        await using var app = await AuthApp.StartAsync();
        var (nobody, client, reader) = (app.As(null), app.Client(), app.As(AuthApp.ReaderKey));

        await Until.TrueAsync(async () => (string?)(await ReadyAsync(nobody)).Body["status"] == "healthy", "all is well");
        var (status, seen) = await ReadyAsync(nobody);
        Assert.That(status, Is.EqualTo(200));
        Assert.That(seen["parts"]!.AsObject().Select(part => part.Key), Is.EqualTo(Parts));
        Assert.That(seen["parts"]!.AsObject().Select(part => part.Value!.ToJsonString()), Is.All.EqualTo("""{"status":"healthy"}"""));
        Assert.That((await ReadyAsync(client)).Body["parts"]!["disk"]!["reason"], Is.Null);
        Assert.That((string?)(await ReadyAsync(reader)).Body["parts"]!["disk"]!["reason"], Does.EndWith(" GB free."));
        Assert.That((await TestApp.ReadAsync(await nobody.GetAsync("health/live"))).ToJsonString(), Is.EqualTo("""{"status":"healthy"}"""));

        // An operator's pause is no trouble, but it is said.
        await app.As(AuthApp.OperatorKey).PostAsync("api/queue/pause", null);
        var paused = (await ReadyAsync(reader)).Body["parts"]!["forges"]!;
        Assert.That(((string?)paused["status"], (string?)paused["reason"]), Is.EqualTo(("healthy", "the operator has paused the queue.")));
    }

    [Test]
    public async Task Ready_IsDegradedAndTakesRequests_WhenNoForgeAnswers()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Backends:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}", ["Forge:Backends:0:Name"] = "gpu1" });

        await Until.TrueAsync(async () => $"{(await ReadyAsync(app.Http)).Body["parts"]!["forges"]!["reason"]}".Contains("gpu1 is down", StringComparison.Ordinal), "gpu1 has been asked");
        var (status, seen) = await ReadyAsync(app.Http);

        Assert.That((status, (string?)seen["status"], (string?)seen["parts"]!["forges"]!["status"]), Is.EqualTo((200, "degraded", "degraded")));
        Assert.That((string?)seen["parts"]!["forges"]!["reason"], Does.Match(@"^No Forge is healthy; requests are taken and wait\. gpu1 is down since .+: .*refused.*\.$"));
        Assert.That((string?)(await app.SubmitAsync("bir gül"))["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Queued));
    }

    [Test]
    public async Task RecurringJobs_AreDegraded_WhileTheSweepIsMissingChangedOrLate()
    {
        var (storage, time) = (new InMemoryStorage(), new FakeTimeProvider(TimeProvider.System.GetUtcNow()));
        var check = new RecurringJobsCheck(storage, time);
        var recurring = new RecurringJobManager(storage);
        var job = Job.FromExpression<Sweep>(sweep => sweep.RunAsync(CancellationToken.None));

        await ExpectAsync(check, HealthStatus.Degraded, "missing or was changed");
        recurring.AddOrUpdate(QueueRebuild.SweepId, job, QueueRebuild.SweepCron);
        await ExpectAsync(check, HealthStatus.Healthy, null);
        recurring.AddOrUpdate(QueueRebuild.SweepId, job, Cron.Never());
        await ExpectAsync(check, HealthStatus.Degraded, "missing or was changed");
        recurring.AddOrUpdate(QueueRebuild.SweepId, job, QueueRebuild.SweepCron);
        time.Advance(TimeSpan.FromMinutes(10));
        await ExpectAsync(check, HealthStatus.Degraded, "has been due since");
    }

    [Test]
    public async Task Disk_IsDegraded_WhenTheFolderCannotBeWritten()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "file");
        await File.WriteAllTextAsync(file, "no folder");

        await ExpectAsync(Check(Path.Combine(folder.Path, "images")), HealthStatus.Healthy, "GB free");
        await ExpectAsync(Check(Path.Combine(file, "images")), HealthStatus.Degraded, "cannot be written");

        DiskCheck Check(string directory) =>
            new(new ImageFiles(Options.Create(new ImagesOptions { Directory = directory }), TimeProvider.System, NullLogger<ImageFiles>.Instance));
    }

    private static async Task ExpectAsync(IHealthCheck check, HealthStatus status, string? reason)
    {
        var result = await check.CheckHealthAsync(new HealthCheckContext());
        Assert.That(result.Status, Is.EqualTo(status), result.Description);
        Assert.That(result.Description, reason is null ? Is.Null : Does.Contain(reason));
    }

    private static async Task<(int Status, JsonObject Body)> ReadyAsync(HttpClient http)
    {
        using var response = await http.GetAsync("health/ready");
        return ((int)response.StatusCode, await TestApp.ReadAsync(response));
    }
}
