using System.Net.Sockets;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>How much one caller may take, and that others do not pay for it.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class RateLimitTests
{
    private static readonly Dictionary<string, string?> Few = new()
    {
        ["Limits:RequestsPerKey"] = "2",
        ["Limits:RequestsPerAddress"] = "1",
        ["Limits:StreamsPerAddress"] = "2",
        ["Auth:Proxies:0"] = "127.0.0.1",
    };

    [Test]
    public async Task Requests_Are429_WithRetryAfterAndCode_AndOthersGoOn()
    {
        await using var app = await AuthApp.StartAsync(Few);

        foreach (var caller in new[] { app.Client(), app.As(null), app.As("wrong"), From(app, "203.0.113.9") })
        {
            var refused = await UntilRefusedAsync(caller, "api/queue");
            Assert.That(refused.Headers.RetryAfter?.Delta, Is.GreaterThan(TimeSpan.Zero));
            Assert.That((string?)(await TestApp.ReadAsync(refused))["code"], Is.EqualTo("rate_limited"));
        }

        Assert.That((int)(await app.As(AuthApp.OperatorKey).GetAsync("api/queue")).StatusCode, Is.EqualTo(200), "another key");
        Assert.That((int)(await From(app, "203.0.113.10").GetAsync("api/queue")).StatusCode, Is.EqualTo(401), "another address");
    }

    [Test]
    public async Task Streams_AreLimited_PerAddress_AndFreeAgainWhenClosed()
    {
        await using var app = await AuthApp.StartAsync(
            new(Few) { ["Limits:RequestsPerAddress"] = "1000", ["Limits:RequestsPerKey"] = "1000" });
        await app.SubmitAsync();
        var watcher = app.As(await app.TokenAsync());
        const string Path = $"api/conversations/{AuthApp.Conversation}/events";
        var (first, second) = (await SseReader.OpenAsync(watcher, Path), await SseReader.OpenAsync(watcher, Path));

        using (var refused = await watcher.GetAsync(Path, HttpCompletionOption.ResponseHeadersRead))
        {
            Assert.That((int)refused.StatusCode, Is.EqualTo(429));
            Assert.That((string?)(await TestApp.ReadAsync(refused))["code"], Is.EqualTo("rate_limited"));
        }

        using (var server = await SseReader.OpenAsync(app.Client(), Path))
            Assert.That((int)server.Response.StatusCode, Is.EqualTo(200), "a key has streams of its own");
        first.Dispose();
        await Until.TrueAsync(
            async () =>
            {
                using var again = await watcher.GetAsync(Path, HttpCompletionOption.ResponseHeadersRead);
                return (int)again.StatusCode == 200;
            },
            "the closed stream is counted no more");
        second.Dispose();
    }

    /// <summary>A request that waits is as open as a stream.</summary>
    [Test]
    public async Task Waits_CountAmongTheStreams()
    {
        await using var app = await AuthApp.StartAsync(
            new()
            {
                ["Limits:StreamsPerAddress"] = "2",
                ["Limits:RequestsPerAddress"] = "1000",
                ["Forge:Simulator:SecondsPerImage"] = "600",
            });
        var id = (long)(await app.SubmitAsync())["id"]!;
        var watcher = app.As(await app.TokenAsync());
        using var stop = new CancellationTokenSource();
        using var stream = await SseReader.OpenAsync(watcher, $"api/conversations/{AuthApp.Conversation}/events");
        var waiting = SendAsync("wait=60", stop.Token);
        await Until.TrueAsync(() => app.App.Services.GetRequiredService<MessageFeed>().WatcherCount == 2);

        using (var refused = await SendAsync("wait=1", CancellationToken.None))
            Assert.That((int)refused.StatusCode, Is.EqualTo(429));
        using (var plain = await SendAsync("respond-async", CancellationToken.None))
            Assert.That((int)plain.StatusCode, Is.EqualTo(200));
        await stop.CancelAsync();
        Assert.That(async () => await waiting, Throws.InstanceOf<OperationCanceledException>());

        async Task<HttpResponseMessage> SendAsync(string prefer, CancellationToken cancellationToken)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"api/messages/{id}");
            request.Headers.Add("Prefer", prefer);
            return await watcher.SendAsync(request, cancellationToken);
        }
    }

    /// <summary>Development has no limits for this machine.</summary>
    [Test]
    public async Task Requests_AreNotLimited_OnThisMachineInDevelopment()
    {
        await using var app = await TestApp.StartAsync(new() { ["Limits:RequestsPerAddress"] = "1", ["Limits:RequestsPerKey"] = "1" });

        for (var i = 0; i < 20; i++)
            Assert.That((int)(await app.Http.GetAsync("api/queue")).StatusCode, Is.EqualTo(200));
    }

    /// <summary>Headers that do not arrive, or are too many.</summary>
    [Test]
    public async Task Connection_IsClosed_WhenHeadersAreSlowOrTooMany()
    {
        await using var app = await AuthApp.StartAsync(new() { ["Kestrel:Limits:RequestHeadersTimeout"] = "00:00:01" });

        Assert.That(
            await SendRawAsync(app.App.Address, "GET /api/queue HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
            Does.StartWith("HTTP/1.1 408").Or.Empty);
        Assert.That(
            await SendRawAsync(
                app.App.Address, $"GET /api/queue HTTP/1.1\r\nHost: localhost\r\nX-Large: {new string('x', 17 * 1024)}\r\n\r\n"),
            Does.StartWith("HTTP/1.1 431"));
    }

    private static async Task<string> SendRawAsync(Uri server, string text)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(server.Host, server.Port);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(text));
        using var reader = new StreamReader(client.GetStream());
        return await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(30)); // To the connection's end.
    }

    private static HttpClient From(AuthApp app, string address)
    {
        var caller = app.As(null);
        caller.DefaultRequestHeaders.Add("X-Forwarded-For", address);
        return caller;
    }

    private static async Task<HttpResponseMessage> UntilRefusedAsync(HttpClient caller, string path)
    {
        for (var i = 0; i < 50; i++)
        {
            var response = await caller.GetAsync(path);
            if ((int)response.StatusCode == 429)
                return response;
        }

        throw new AssertionException("50 requests at once, and none was refused.");
    }
}
