using System.Net.Http.Json;
using System.Net.Sockets;
using System.Net.WebSockets;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Push;

/// <summary>Clients that open a stream, ask for everything and read nothing.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class StalledReaderTests
{
    private TestApp _app = null!;

    private MessageFeed Feed => _app.Services.GetRequiredService<MessageFeed>();

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync(new() { ["Push:SlowestReader"] = "00:00:01", ["Push:Heartbeat"] = "01:00:00" });
        for (var i = 0; i < 200; i++)
        {
            using var added = await _app.Http.PostAsJsonAsync(
                "api/conversations/long/messages", new { username = "ayşe", role = "user", content = new string('x', 60_000) });
            added.EnsureSuccessStatusCode();
        }
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [Test]
    public async Task Events_End_WhenTheClientStopsReading()
    {
        using var client = await ConnectAsync("GET /api/conversations/long/events?last_event_id=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        await Until.TrueAsync(() => Feed.WatcherCount == 1);

        await Until.TrueAsync(() => Feed.WatcherCount == 0, "the stream has ended");
    }

    [Test]
    public async Task Hub_ClosesTheConnection_WhenTheClientStopsReading()
    {
        using var socket = new ClientWebSocket();
        await socket.ConnectAsync(new UriBuilder(_app.Address) { Scheme = "ws", Path = "hubs/images" }.Uri, CancellationToken.None);
        foreach (var text in new[]
        {
            "{\"protocol\":\"json\",\"version\":1}\u001e",
            "{\"type\":1,\"target\":\"Watch\",\"arguments\":[\"long\",0]}\u001e",
        })
        {
            await socket.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        }

        await Until.TrueAsync(() => Feed.WatcherCount == 1);

        await Until.TrueAsync(() => Feed.WatcherCount == 0, "the watch has ended");
    }

    [Test]
    public async Task Events_BringEverything_WhenTheClientReads()
    {
        using var events = await SseReader.OpenAsync(_app.Http, "api/conversations/long/events?last_event_id=0");
        var ids = new List<long>();
        while (ids.Count < 200)
            ids.Add((long)(await events.ReadAsync())["id"]!);

        Assert.That(ids, Is.Ordered.Ascending.And.Unique);
    }

    private async Task<TcpClient> ConnectAsync(string request)
    {
        var client = new TcpClient { ReceiveBufferSize = 4096 };
        await client.ConnectAsync(_app.Address.Host, _app.Address.Port);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(request));
        return client;
    }
}
