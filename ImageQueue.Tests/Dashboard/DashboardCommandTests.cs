using System.Text.Json.Nodes;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Dashboard;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>Every image command over HTTP, and its effect on rows, queue, files and backends.</summary>
internal abstract class DashboardCommandContract(bool isOnSqlServer) : DashboardContract(backends: 2, isOnSqlServer)
{
    [Test]
    public async Task ImageCommands_ChangeRowsQueueAndFiles()
    {
        Assert.That(await CommandAsync("queue/pause", "queue"), Is.EqualTo((1, 0)));
        var ids = new List<long>();
        for (var i = 0; i < 5; i++)
            ids.Add((long)(await App.SubmitAsync($"bir gül {i}"))["id"]!);
        var text = await PlainMessageAsync();

        Assert.That(await CommandAsync("images/front", ids[3]), Is.EqualTo((1, 0)));
        Assert.That((int)(await MessageAsync(ids[3]))["queue"]!["position"]!, Is.EqualTo(1));
        Assert.That(await CommandAsync("images/cancel", ids[0], ids[1]), Is.EqualTo((2, 0)));
        Assert.That(await CommandAsync("images/cancel", ids[0], "none", text), Is.EqualTo((0, 3)), "finished, not a number, not an image");
        Assert.That(await CommandAsync("images/retry", ids[0]), Is.EqualTo((1, 0)));
        Assert.That(await CommandAsync("images/retry", ids[0]), Is.EqualTo((0, 1)));

        // Waiting, cancelled, a text message, missing.
        Assert.That(await CommandAsync("images/erase", ids[1], ids[2], text, 999_999), Is.EqualTo((2, 2)));
        Assert.That(await StatusOfAsync(ids[1], ids[2], text), Is.EqualTo(new[] { 404, 404, 200 }));
        Assert.That(await CommandAsync("images/erase", ids[1]), Is.EqualTo((0, 1)), "already erased");

        Assert.That(await CommandAsync("queue/resume", "queue"), Is.EqualTo((1, 0)));
        foreach (var id in new[] { ids[0], ids[3], ids[4] })
            await App.WaitForAsync(id, MessageStatus.Complete);
        var image = (string)(await MessageAsync(ids[3]))["extra_metadata"]!["image_url"]!;
        Assert.That(await GetAsync(image), Is.EqualTo(200));
        Assert.That(await CommandAsync("images/erase", ids[3]), Is.EqualTo((1, 0)));
        Assert.That(await GetAsync(image), Is.EqualTo(404));

        Assert.That(
            App.App.Log.Of(LogLevel.Information).Where(line => line.Contains(AuditLog.Category, StringComparison.Ordinal)),
            Has.Some.Contains($"the operator from ").And.Contains(
                $"/commands/images/erase [{ids[1]}%20{ids[2]}%20{text}%20999999] gave 200"));
    }

    [Test]
    public async Task Drain_MovesTheRunningRequestToAnotherBackend()
    {
        foreach (var forge in Backends)
            forge.MillisecondsPerImage = 60_000;
        var id = await GeneratingAsync();
        var first = (await Store.FindAsync(id, CancellationToken.None))!.Backend!;
        foreach (var forge in Backends)
            forge.MillisecondsPerImage = 50;

        Assert.That(await CommandAsync("backends/drain", first), Is.EqualTo((1, 0)));

        await App.WaitForAsync(id, MessageStatus.Complete);
        var message = (await Store.FindAsync(id, CancellationToken.None))!;
        Assert.That(
            (message.Backend, message.Attempt, message.Failures),
            Is.EqualTo((first == "gpu1" ? "gpu2" : "gpu1", 2, 0)),
            "not charged to the request");
        var page = System.Net.WebUtility.HtmlDecode(await Operator.GetStringAsync($"hangfire/images/{id}"));
        Assert.That(
            page,
            Does.Contain($"Attempt 1 on {first}")
                .And.Contain($"the operator has drained {first}")
                .And.Contain($"Attempt 2 on {message.Backend}"));
        Assert.That(await Operator.GetStringAsync("hangfire/backends"), Does.Contain("Paused"));

        Assert.That(await CommandAsync("backends/resume", first), Is.EqualTo((1, 0)));
        Assert.That((await QueueAsync())["backends"]!.AsArray().Any(forge => (bool)forge!["paused"]!), Is.False);
    }

    /// <summary>Submits a request and waits until a backend generates it: the row is processing a moment earlier.</summary>
    private async Task<long> GeneratingAsync()
    {
        var begun = Begun();
        var id = (long)(await App.SubmitAsync("bir gül"))["id"]!;
        await App.WaitForAsync(id, MessageStatus.Processing);
        await Until.TrueAsync(() => Task.FromResult(Begun() > begun), "a backend generates it");
        return id;

        int Begun() => Backends.Sum(forge => forge.Stats.Started.Count);
    }

    /// <summary>Without another backend the request waits at position 1.</summary>
    [Test]
    public async Task Drain_RequeuesInPlace_WhenNoOtherBackendIsFree()
    {
        Assert.That(await CommandAsync("backends/pause", "gpu2"), Is.EqualTo((1, 0)));
        foreach (var forge in Backends)
            forge.MillisecondsPerImage = 60_000;
        var generated = await GeneratingAsync();
        var behind = (long)(await App.SubmitAsync("bir gül daha"))["id"]!;
        foreach (var forge in Backends)
            forge.MillisecondsPerImage = 50;

        Assert.That(await CommandAsync("backends/drain", "gpu1"), Is.EqualTo((1, 0)));

        await Until.TrueAsync(
            async () => (int?)(await MessageAsync(behind))["queue"]?["position"] == 2, "it is queued again, before the other");
        Assert.That((int?)(await MessageAsync(generated))["queue"]!["position"], Is.EqualTo(1));
        Assert.That(await CommandAsync("backends/resume", "gpu1", "gpu2"), Is.EqualTo((2, 0)));
        await App.WaitForAsync(generated, MessageStatus.Complete);
        await App.WaitForAsync(behind, MessageStatus.Complete);
    }

    [Test]
    public async Task BackendCommands_AreRefused_WhenNameIsUnknown()
    {
        Assert.That(await CommandAsync("backends/pause", "gpu2"), Is.EqualTo((1, 0)));
        Assert.That(
            (await QueueAsync())["backends"]!.AsArray().Select(forge => (bool)forge!["paused"]!), Is.EqualTo(new[] { false, true }));
        Assert.That(await CommandAsync("backends/resume", "gpu2"), Is.EqualTo((1, 0)));
        Assert.That(
            (await QueueAsync())["backends"]!.AsArray().Select(forge => (bool)forge!["paused"]!), Is.EqualTo(new[] { false, false }));
        Assert.That(await CommandAsync("backends/probe", "gpu1", "gpu2"), Is.EqualTo((2, 0)));
        foreach (var command in new[] { "pause", "resume", "drain", "probe" })
            Assert.That(await CommandAsync($"backends/{command}", "gpu9"), Is.EqualTo((0, 1)), command);
    }

    [Test]
    public async Task RetryGroup_RetriesOnlyThatGroup()
    {
        Assert.That(await CommandAsync("backends/pause", "gpu2"), Is.EqualTo((1, 0)));
        var ids = new List<long>();
        for (var i = 0; i < 4; i++)
            ids.Add((long)(await App.SubmitAsync($"bir gül {i} [fault:{(i < 3 ? "oom*1" : "422*1")}]"))["id"]!);
        foreach (var id in ids)
            await App.WaitForAsync(id, MessageStatus.Error);
        var other = (await Store.FindAsync(ids[3], CancellationToken.None))!;
        Assert.That(other.ErrorCode, Is.Not.EqualTo(ErrorCodes.OutOfMemory));

        App.App.Services.GetRequiredService<DashboardSummary>().Invalidate();
        Assert.That(
            System.Net.WebUtility.HtmlDecode(await Operator.GetStringAsync("hangfire/failures")),
            Does.Contain("out_of_memory|gpu1").And.Contain("CUDA out of memory"),
            "the backend's own words, for operators");
        Assert.That(await CommandAsync("failures/retry", "out_of_memory|gpu1"), Is.EqualTo((3, 0)));
        Assert.That(await CommandAsync("failures/retry", "nonsense"), Is.EqualTo((0, 1)));

        foreach (var id in ids.Take(3))
            await App.WaitForAsync(id, MessageStatus.Complete);
        Assert.That((await Store.FindAsync(ids[3], CancellationToken.None))!.Status, Is.EqualTo(MessageStatus.Error));
        Assert.That(await CommandAsync("backends/resume", "gpu2"), Is.EqualTo((1, 0)));
    }

    /// <summary>A read-only operator gets the same pages without buttons, and every command is refused.</summary>
    [Test]
    public async Task Reader_SeesEveryPage_AndChangesNothing()
    {
        var id = (long)(await App.SubmitAsync("bir gül [fault:oom*1]"))["id"]!;
        await App.WaitForAsync(id, MessageStatus.Error);
        var before = (await Store.FindAsync(id, CancellationToken.None))!;
        App.App.Services.GetRequiredService<DashboardSummary>().Invalidate();
        var reader = await App.SignInAsync(AuthApp.ReaderKey);
        foreach (var path in new[]
        {
            "images",
            "images?show=ended",
            "images?show=running",
            $"images/{id}",
            "backends",
            "failures",
            $"jobs/details/{before.HangfireJobId}",
        })
        {
            Assert.That(await Operator.GetStringAsync($"hangfire/{path}"), Does.Contain("data-iq-post"), path);
            Assert.That(
                await reader.GetStringAsync($"hangfire/{path}"), Does.Not.Contain("data-iq-post").And.Not.Contain("data-iq-pick"), path);
        }

        foreach (var command in new[]
        {
            "commands/images/erase",
            "commands/images/retry",
            "commands/failures/retry",
            "jobs/failed/requeue",
            "jobs/failed/delete",
        })
        {
            using var refused = await AuthApp.PostDashboardAsync(
                reader, $"hangfire/{command}", $"{id}", "out_of_memory|gpu1", before.HangfireJobId!);
            Assert.That((int)refused.StatusCode, Is.EqualTo(403).Or.EqualTo(401), command);
        }

        Assert.That(
            await Store.FindAsync(id, CancellationToken.None),
            Is.EqualTo(before).Using<Message, Message>((one, other) => one.Revision == other.Revision));
        Assert.That(await CommandAsync("images/erase", id), Is.EqualTo((1, 0)), "not counted by another test");
    }

    private IMessageStore Store => App.App.Services.GetRequiredService<IMessageStore>();

    private async Task<long> PlainMessageAsync()
    {
        using var added = await App.Client().PostAsync(
            $"api/conversations/{AuthApp.Conversation}/messages",
            AuthApp.Json($$"""{"username":"{{AuthApp.Owner}}","role":"user","content":"Merhaba"}"""));
        Assert.That((int)added.StatusCode, Is.EqualTo(201), await added.Content.ReadAsStringAsync());
        return (long)(await TestApp.ReadAsync(added))["id"]!;
    }

    private async Task<JsonObject> QueueAsync() => await TestApp.ReadAsync(await App.As(AuthApp.OperatorKey).GetAsync("api/queue"));

    private async Task<JsonObject> MessageAsync(long id) => await TestApp.ReadAsync(await App.Client().GetAsync($"api/messages/{id}"));

    private async Task<int[]> StatusOfAsync(params long[] ids)
    {
        var statuses = new List<int>();
        foreach (var id in ids)
            statuses.Add(await GetAsync($"/api/messages/{id}"));
        return [.. statuses];
    }

    private async Task<int> GetAsync(string path)
    {
        using var response = await App.Client().GetAsync(path);
        return (int)response.StatusCode;
    }

    private async Task<(int Done, int Refused)> CommandAsync(string path, params object[] values)
    {
        using var response = await AuthApp.PostDashboardAsync(
            Operator, $"hangfire/commands/{path}", [
                .. values.Select(value => Convert.ToString(value, CultureInfo.InvariantCulture)!)]);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
        var answer = await TestApp.ReadAsync(response);
        return ((int)answer["done"]!, (int)answer["refused"]!);
    }
}

[TestFixture]
[Category(Categories.App)]
internal sealed class SqliteDashboardCommandTests() : DashboardCommandContract(isOnSqlServer: false);

[SqlServerFixture]
[Category(Categories.App)]
internal sealed class SqlServerDashboardCommandTests() : DashboardCommandContract(isOnSqlServer: true);
