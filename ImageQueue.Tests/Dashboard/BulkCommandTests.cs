using System.Text.Json.Nodes;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>Commands over all matches of a search.</summary>
[Category(Categories.Process)]
internal sealed class BulkCommandTests
{
    private const int Waiting = 10_000;

    private const int Flood = 6_000;

    /// <summary>One user's 6,000 of 10,000 are cancelled by one command in the browser, and the others move up.</summary>
    [Test]
    public async Task CancelAllMatching_CancelsOneUsersFlood()
    {
        var browser = await ChatBrowser.StartAsync();
        using var folder = new TemporaryFolder();
        await DashboardRows.FillAsync(folder, Waiting, 0, Flood);
        await using var app = await TestApp.StartAsync(folder: folder);
        var order = app.Services.GetRequiredService<IQueueOrder>();
        await Until.TrueAsync(async () => (await order.GetAsync(CancellationToken.None)).Count == Waiting, "the queue is rebuilt");
        await using var context = await browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        var asked = "";
        page.Dialog += (_, dialog) =>
        {
            asked = dialog.Message;
            _ = dialog.AcceptAsync();
        };
        await page.GotoAsync("hangfire");
        await page.GetByRole(
            AriaRole.Table, new() { Name = "Waiting by user" }).GetByRole(AriaRole.Link, new() { Name = "Flooder" }).ClickAsync();
        await Expect(page.Locator("[name=user]")).ToHaveValueAsync("Flooder");

        var started = TimeProvider.System.GetTimestamp();
        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel all matching" }).ClickAsync();
        await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("started");
        var commands = app.Services.GetRequiredService<BulkCommands>();
        await Until.TrueAsync(() => commands.List() is [{ IsRunning: false }], "the command has run", TimeSpan.FromMinutes(3));
        TestContext.Out.WriteLine(
            $"{Flood} cancelled in {TimeProvider.System.GetElapsedTime(started).TotalSeconds:0.0} s, the first click included.");

        Assert.That(asked, Is.EqualTo("Cancel all 6,000 matching images?"));
        Assert.That(
            commands.List()[0],
            Is.EqualTo(new BulkCommand(commands.List()[0].Id, BulkVerb.Cancel, "local", "Succeeded", IsRunning: false, Flood, 0, Flood)));
        await Expect(page.Locator(".iq-bulk")).ToContainTextAsync("6,000 of 6,000 done");
        await Expect(page.Locator("[data-iq-part]")).ToContainTextAsync("No images found.");
        await Until.TrueAsync(
            async () => (await order.GetAsync(CancellationToken.None)).Count == Waiting - Flood, "the others have moved up");
        Assert.That((int)(await app.GetMessageAsync(Flood + 1))["queue"]!["position"]!, Is.EqualTo(1));
        Assert.That((int)(await app.GetMessageAsync(Waiting))["queue"]!["position"]!, Is.EqualTo(Waiting - Flood));
        Assert.That((string)(await app.GetMessageAsync(Flood))["extra_metadata"]!["status"]!, Is.EqualTo(MessageStatus.Cancelled));
        Assert.That(browser.Errors, Is.Empty);
    }
}

/// <summary>The same over HTTP, on both storages.</summary>
internal abstract class BulkCommandContract(bool isOnSqlServer) : DashboardContract(backends: 1, isOnSqlServer)
{
    [Test]
    public async Task BulkCommands_ChangeAllMatches_AndNoOther()
    {
        await PostAsync("queue/pause", "queue");
        var (flood, others) = (new List<long>(), new List<long>());
        for (var i = 0; i < 12; i++)
        {
            (i % 3 == 0 ? others : flood).Add(
                (long)(await App.SubmitAsync($"YAĞMUR {i}", i % 3 == 0 ? "others" : "flood", i % 3 == 0 ? "mehmet" : "Işık"))["id"]!);
        }

        Assert.That(await CountAsync("?show=waiting&user=ışı"), Is.EqualTo(flood.Count), "the user filter is a prefix in any case");
        Assert.That(await CountAsync("?show=waiting&q=yağmur"), Is.EqualTo(12), "the search folds case");
        Assert.That((int)(await PostAsync("matching/cancel", "?show=waiting"))["refused"]!, Is.EqualTo(1), "never without a filter");
        foreach (var filter in (string[])["q", "user", "backend"])
        {
            var blank = await PostAsync("matching/cancel", $"?show=waiting&{filter}=%20");
            Assert.That((int)blank["refused"]!, Is.EqualTo(1), "a blank is no filter");
        }

        Assert.That(
            (int)(await PostAsync("matching/erase", "?show=waiting&user=i"))["refused"]!,
            Is.EqualTo(1),
            "unfinished requests are cancelled first");
        Assert.That((bool)(await PostAsync("matching/cancel", "?show=waiting&user=I%C5%9F%C4%B1k"))["started"]!, Is.True);

        foreach (var id in flood)
            await App.WaitForAsync(id, MessageStatus.Cancelled);
        // A job leaves the queue a moment after its row is cancelled.
        await Until.TrueAsync(
            async () => (await Operator.GetStringAsync("hangfire/live/images")).Contains("8 of 8 done", StringComparison.Ordinal),
            "the progress is shown");
        for (var i = 0; i < others.Count; i++)
        {
            Assert.That(
                (int)(await TestApp.ReadAsync(await App.Client().GetAsync($"api/messages/{others[i]}")))["queue"]!["position"]!,
                Is.EqualTo(i + 1));
        }

        Assert.That((bool)(await PostAsync("matching/erase", "?show=cancelled&user=I%C5%9F%C4%B1k"))["started"]!, Is.True);
        await Until.TrueAsync(async () => await CountAsync("?show=cancelled&user=I%C5%9F%C4%B1k") == 0, "all are erased");
        var reader = await App.SignInAsync(AuthApp.ReaderKey);
        Assert.That(await reader.GetStringAsync("hangfire/images?show=waiting&user=mehmet"), Does.Not.Contain("commands/matching"));
    }

    /// <summary>Hangfire's own list of 5,000: FormOptions allows 1,024 values by default.</summary>
    [Test]
    public async Task HangfiresBulkDelete_IsTaken_WithFiveThousandJobs()
    {
        using var response = await AuthApp.PostDashboardAsync(
            Operator, "hangfire/jobs/enqueued/delete", [.. Enumerable.Range(0, 5000).Select(i => $"none-{i}")]);
        Assert.That((int)response.StatusCode, Is.EqualTo(204));
    }

    private async Task<int> CountAsync(string query) =>
        (int)JsonNode.Parse(await Operator.GetStringAsync($"hangfire/live/count{query}"))!["count"]!;

    private async Task<JsonObject> PostAsync(string command, string value)
    {
        using var response = await AuthApp.PostDashboardAsync(Operator, $"hangfire/commands/{command}", value);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }
}

[TestFixture]
[Category(Categories.App)]
internal sealed class SqliteBulkCommandTests() : BulkCommandContract(isOnSqlServer: false);

[SqlServerFixture]
[Category(Categories.App)]
internal sealed class SqlServerBulkCommandTests() : BulkCommandContract(isOnSqlServer: true);
