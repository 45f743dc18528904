using System.Net;
using System.Text;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>No request stops the others: each ordinary way in which one can break off whatever backend it is sent to.</summary>
[Category(Categories.App)]
internal sealed class PoisonJourneyTests
{
    private const string NoModel = "'NoneType' object has no attribute 'sd_checkpoint_info'";

    private static readonly object Small = new { width = 64, height = 64, steps = 4 };

    /// <summary>A proxy gives up on a slow request, which goes on behind it.</summary>
    [TestCase(1)]
    [TestCase(2)]
    public Task GatewayTimeout_EndsTheSlowRequestAlone(int backends) =>
        RunAsync(backends, $"slow [fault:{SimulatorFaults.Slow}]", ErrorCodes.TimedOut, server =>
        async (context, prompt, answer) =>
        {
            if (prompt?.StartsWith("slow", StringComparison.Ordinal) != true || context.Request.Headers.ContainsKey("x-behind"))
            {
                await answer();
                return;
            }

            using var reader = new StreamReader(context.Request.Body);
            using var behind =
                new HttpRequestMessage(HttpMethod.Post, "sdapi/v1/txt2img")
                {
                    Content = new StringContent(await reader.ReadToEndAsync(), Encoding.UTF8, "application/json"),
                };
            behind.Headers.Add("x-behind", "1");
            _ = server.Client.SendAsync(behind);
            await Task.Delay(300);
            await PageAsync(context, 504, "nginx", "<html><head><title>504 Gateway Time-out</title></head></html>");
        });

    /// <summary>A firewall before the backend blocks a prompt.</summary>
    [TestCase(1)]
    [TestCase(2)]
    public Task FirewallsPage_EndsTheBlockedRequestAlone(int backends) =>
        RunAsync(backends, "a poster that says <script>alert(1)</script>", ErrorCodes.BackendFailed, _ =>
        (context, prompt, answer) => prompt?.Contains("<script", StringComparison.Ordinal) == true
            ? PageAsync(
                context, 403, "cloudflare", "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>")
            : answer());

    /// <summary>A prompt brings about a device-side assert, after which the server works on.</summary>
    [TestCase(1)]
    [TestCase(2)]
    public Task GpuError_EndsThePoisonRequestAlone(int backends) => RunAsync(backends, "poison", ErrorCodes.BackendFailed, _ =>
        (context, prompt, answer) => prompt == "poison" ? ErrorAsync(context, "CUDA error: device-side assert triggered") : answer());

    /// <summary>A prompt has the server killed; a supervisor restarts it, and its port accepts and resets connections meanwhile.</summary>
    [TestCase(1)]
    [TestCase(2)]
    public Task KilledServer_EndsTheKillerAlone(int backends) => RunAsync(backends, "killer", ErrorCodes.BackendFailed, _ =>
    {
        var downUntil = 0L;
        return (context, prompt, answer) =>
        {
            var now = TimeProvider.System.GetTimestamp();
            if (prompt == "killer")
                downUntil = now + TimeProvider.System.TimestampFrequency;
            if (now >= downUntil)
                return answer();
            context.Abort();
            return Task.CompletedTask;
        };
    });

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

    private static async Task RunAsync(
        int backends, string poison, string code, Func<SimulatorServer, Func<HttpContext, string?, Func<Task>, Task>> proxy)
    {
        var (sent, lastSent) = (0, 0L);
        var servers = new List<SimulatorServer>();
        for (var i = 0; i < backends; i++)
        {
            var server = await SimulatorServer.StartAsync(millisecondsPerImage: 100);
            server.Proxy = Counted(proxy(server));
            servers.Add(server);
        }

        try
        {
            await using var app = await StartAsync(servers);
            var started = TimeProvider.System.GetTimestamp();
            var bad = (long)(await app.SubmitAsync(poison, more: Small))["id"]!;
            var ids = await SubmitAsync(app, 6);

            await CompleteAsync(app, ids);
            var innocents = TimeProvider.System.GetElapsedTime(started);
            var end = await app.WaitForAsync(bad, MessageStatus.Error, MessageStatus.Complete);

            Assert.That((string?)end["extra_metadata"]!["error_code"], Is.EqualTo(code), end.ToJsonString());
            Assert.That(sent, Is.InRange(2, 3), "times that it was sent");
            if (code != ErrorCodes.TimedOut) // Forge calls an interrupted task completed a moment before it has answered.
                Assert.That(servers.Select(server => server.Stats.MostInFlight), Is.All.LessThanOrEqualTo(1));
            Assert.That($"{app.Log}", Does.Not.Contain("user and password"));
            TestContext.Out.WriteLine(
                $"{poison}: six others of 0.1 s complete after {innocents.TotalSeconds:0.0} s, it was sent {sent} times, the last after "
                + $"{TimeProvider.System.GetElapsedTime(started, lastSent).TotalSeconds:0.0} s");
        }
        finally
        {
            foreach (var server in servers)
                await server.DisposeAsync();
        }

        Func<HttpContext, string?, Func<Task>, Task> Counted(Func<HttpContext, string?, Func<Task>, Task> inner) =>
            (context, prompt, answer) =>
        {
            if (prompt == poison && !context.Request.Headers.ContainsKey("x-behind"))
                (sent, lastSent) = (Interlocked.Increment(ref sent), TimeProvider.System.GetTimestamp());
            return inner(context, prompt, answer);
        };
    }

    private static Task<TestApp> StartAsync(IReadOnlyList<SimulatorServer> servers)
    {
        var settings = SimulatorServer.Settings([.. servers]);
        settings["Queue:MaxPendingPerUser"] = "1000";
        settings["Forge:PollInterval"] = "00:00:00.1";
        return TestApp.StartAsync(settings);
    }

    private static async Task<List<long>> SubmitAsync(TestApp app, int count)
    {
        var ids = new List<long>();
        for (var i = 0; i < count; i++)
            ids.Add((long)(await app.SubmitAsync($"image {i}", more: Small))["id"]!);
        return ids;
    }

    private static async Task CompleteAsync(TestApp app, IEnumerable<long> ids)
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
