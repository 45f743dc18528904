using System.Net;
using ImageQueue.Core.Backends;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>A backend that fails every request costs none; <see cref="CaseTests"/> has the requests that break off every backend.</summary>
[Category(Categories.App)]
internal sealed class PoisonJourneyTests
{
    private const string NoModel = "'NoneType' object has no attribute 'sd_checkpoint_info'";

    internal static readonly object Small = new { width = 64, height = 64, steps = 4 };

    /// <summary>After a failed model load Forge fails every request until it is restarted.</summary>
    [Test]
    public async Task LoneBackendWithoutModel_EndsNoRequest()
    {
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 50);
        var isBroken = true;
        server.Proxy = (context, prompt, answer) => prompt is not null && isBroken ? ErrorAsync(context, NoModel) : answer();
        await using var app = await StartAsync([server]);
        var ids = await SubmitAsync(app, 18);
        await Until.TrueAsync(
            () => app.Services.GetRequiredService<BackendPool>().Status.Single().State == BackendState.Unhealthy, "its canary fails");
        await Until.TrueAsync(
            () =>
                server.Stats.Received.Count == 0
                    && app.Services.GetRequiredService<BackendPool>().Status.Single().NextCanary > TimeProvider.System.GetUtcNow(),
            "canaries come after pauses");
        foreach (var id in ids)
        {
            Assert.That(
                (string?)(await app.GetMessageAsync(id))["extra_metadata"]!["status"],
                Is.EqualTo(MessageStatus.Queued).Or.EqualTo(MessageStatus.Processing));
        }

        isBroken = false;

        await CompleteAsync(app, ids);
    }

    [Test]
    public async Task BackendWithoutModel_CostsNoRequest_BesideAGoodOne()
    {
        await using var bad = await SimulatorServer.StartAsync(millisecondsPerImage: 50);
        await using var good = await SimulatorServer.StartAsync(millisecondsPerImage: 50);
        bad.Proxy = (context, prompt, answer) => prompt is not null ? ErrorAsync(context, "RuntimeError: boom") : answer();
        await using var app = await StartAsync([bad, good]);

        await CompleteAsync(app, await SubmitAsync(app, 12));

        Assert.That(
            app.Services.GetRequiredService<BackendPool>().Status[0].Attempts.Failed,
            Is.LessThanOrEqualTo(2),
            "then canaries alone test it");
    }

    [Test]
    public async Task BackendsPage_NamesTheProxyAndItsSetting_AfterAGatewayTimeout()
    {
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 50);
        server.Proxy = (context, prompt, answer) =>
            prompt == "image 0" ? PageAsync(context, 504, "nginx", "<html><center>nginx</center></html>") : answer();
        await using var app = await StartAsync([server]);

        await app.WaitForAsync((await SubmitAsync(app, 1))[0], MessageStatus.Error);

        var page = WebUtility.HtmlDecode(await app.Http.GetStringAsync("hangfire/backends"));
        Assert.That(
            page, Does.Contain("Last disruption").And.Contain("nginx gave up").And.Contain("504").And.Contain("proxy_read_timeout"));
    }

    internal static Task<TestApp> StartAsync(IReadOnlyList<SimulatorServer> servers)
    {
        var settings = SimulatorServer.Settings([.. servers]);
        settings["Queue:MaxPendingPerUser"] = "1000";
        settings["Forge:PollInterval"] = "00:00:00.1";
        return TestApp.StartAsync(settings);
    }

    internal static async Task<List<long>> SubmitAsync(TestApp app, int count)
    {
        var ids = new List<long>();
        for (var i = 0; i < count; i++)
            ids.Add((long)(await app.SubmitAsync($"image {i}", more: Small))["id"]!);
        return ids;
    }

    internal static async Task CompleteAsync(TestApp app, IEnumerable<long> ids)
    {
        foreach (var id in ids)
        {
            var message = await app.WaitForAsync(id, MessageStatus.Complete, MessageStatus.Error);
            Assert.That(
                (string?)message["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Complete), $"{message.ToJsonString()}\n{app.Log}");
        }
    }

    private static async Task PageAsync(HttpContext context, int status, string server, string html)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/html";
        context.Response.Headers.Server = server;
        await context.Response.WriteAsync(html);
    }

    private static Task ErrorAsync(HttpContext context, string words)
    {
        context.Response.StatusCode = (int)HttpStatusCode.InternalServerError;
        return context.Response.WriteAsJsonAsync(new { error = "RuntimeError", detail = "", body = "", errors = words });
    }
}
