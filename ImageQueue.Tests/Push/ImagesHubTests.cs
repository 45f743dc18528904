using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Push;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Push;

/// <summary>The SignalR hub, with Microsoft's own client.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ImagesHubTests
{
    private const char Separator = '\u001e';

    private TestApp _app = null!;
    private PushSource _source = null!;

    private MessageFeed Feed => _app.Services.GetRequiredService<MessageFeed>();

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync(new() { ["Push:SlowestReader"] = "00:01:00" });
        _source = new PushSource(_app);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [TearDown]
    public async Task NoWatcherRemainsAsync()
    {
        await Until.TrueAsync(() => Feed.WatcherCount == 0);
        Assert.That(_app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    [Test]
    public async Task Watch_SendsWhatServerSentEventsSend()
    {
        var message = await _source.BeginAsync("same");
        using var events = await SseReader.OpenAsync(_app.Http, "api/conversations/same/events");
        await using var client = await ConnectAsync();
        await client.Hub.InvokeAsync("Watch", "same");

        await _source.ProgressAsync(message, 30);
        message = await _source.CompleteAsync(message);

        // Either may be given the newest state alone; what both are given is the same, and the last is.
        var here = (await client.ReadUntilAsync(message.Revision)).ToDictionary(progress => (long)progress["revision"]!);
        JsonObject there;
        do
        {
            there = await events.ReadAsync();
            if (here.TryGetValue((long)there["revision"]!, out var same))
            {
                Assert.That(
                    JsonNode.DeepEquals(WithoutEstimate(same), WithoutEstimate(there)),
                    Is.True,
                    $"{same.ToJsonString()}\n{there.ToJsonString()}");
            }
        }
        while ((long)there["revision"]! < message.Revision);

        Assert.That(here, Does.ContainKey((long)there["revision"]!));

        // Estimates change with time.
        static JsonObject WithoutEstimate(JsonObject progress)
        {
            progress.Remove("eta_seconds");
            return progress;
        }
    }

    [Test]
    public async Task Watch_SendsWhatWasMissed_WhenGivenARevision()
    {
        var (one, two) = (await _source.BeginAsync("missed"), await _source.BeginAsync("missed"));
        await _source.RunAsync([one, two], 100);
        two = await _source.CompleteAsync(two);
        one = await _source.CompleteAsync(one);
        await using var client = await ConnectAsync();

        await client.Hub.InvokeAsync("Watch", "missed", two.Revision - 1);

        Assert.That(
            new[] { (long)(await client.ReadAsync())["revision"]!, (long)(await client.ReadAsync())["revision"]! },
            Is.EqualTo(new[] { two.Revision, one.Revision }));
        Assert.That(client.IsQuiet, Is.True);
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Watch_SendsOnlyWhatIsNew_WhenGivenNone(bool asNull)
    {
        var message = await _source.BeginAsync("new");
        await using var client = await ConnectAsync();
        if (asNull)
            await client.Hub.InvokeAsync("Watch", "new", (long?)null);
        else
            await client.Hub.InvokeAsync("Watch", "new");

        message = await _source.ProgressAsync(message, 10);

        Assert.That((long)(await client.ReadAsync())["revision"]!, Is.EqualTo(message.Revision));
    }

    [Test]
    public async Task Watch_FollowsSeveralConversations_AndUnwatchLeavesOne()
    {
        var (one, two) = (await _source.BeginAsync("one"), await _source.BeginAsync("two"));
        await using var client = await ConnectAsync();
        await client.Hub.InvokeAsync("Watch", "one");
        await client.Hub.InvokeAsync("Watch", "two");
        await client.Hub.InvokeAsync("Watch", "two");
        await _source.ProgressAsync(one, 10);
        Assert.That((string?)(await client.ReadAsync())["conversation_id"], Is.EqualTo("one"));
        Assert.That(Feed.WatcherCount, Is.EqualTo(2), "watching again replaces");

        await client.Hub.InvokeAsync("Unwatch", "one");
        await client.Hub.InvokeAsync("Unwatch", "never watched");
        await Until.TrueAsync(() => Feed.WatcherCount == 1);
        await _source.ProgressAsync(one, 20);
        await _source.ProgressAsync(two, 20);

        Assert.That((string?)(await client.ReadAsync())["conversation_id"], Is.EqualTo("two"));
        Assert.That(client.IsQuiet, Is.True);
    }

    [TestCase("", "must not be empty")]
    [TestCase(null, "must not be empty")]
    [TestCase("a ", "begins or ends with a blank")]
    public async Task Watch_IsRefusedWithASentence_WhenThatIsNoConversationsId(string? conversation, string sentence)
    {
        await using var client = await ConnectAsync();

        Assert.That(() => client.Hub.InvokeAsync("Watch", conversation), Throws.InstanceOf<HubException>().With.Message.Contains(sentence));
        Assert.That(() => client.Hub.InvokeAsync("Watch"), Throws.InstanceOf<HubException>());
        Assert.That(() => client.Hub.InvokeAsync("Watch", "a", 1, 2), Throws.InstanceOf<HubException>());
        Assert.That(client.Hub.State, Is.EqualTo(HubConnectionState.Connected));
    }

    /// <summary>A typing error costs its caller that call, and not what else the connection watches.</summary>
    [Test]
    public async Task Call_FailsAlone_WhenThereIsNoSuchMethod()
    {
        await using var client = await ConnectAsync();
        await client.Hub.InvokeAsync("Watch", "typing");

        Assert.That(() => client.Hub.InvokeAsync("Wacth", "typing"), Throws.InstanceOf<HubException>());
        await client.Hub.SendAsync("Wacth", "typing");

        var message = await _source.BeginAsync("typing");
        Assert.That((long)(await client.ReadUntilAsync(message.Revision))[^1]["revision"]!, Is.EqualTo(message.Revision));
        Assert.That(client.Hub.State, Is.EqualTo(HubConnectionState.Connected));
    }

    /// <summary>The same id in the hub as in a path, percent-decoded.</summary>
    [TestCase("a/b", "a%2Fb")]
    [TestCase("a%2Fb", "a%252Fb")]
    [TestCase("ağaç 🌳", "a%C4%9Fa%C3%A7%20%F0%9F%8C%B3")]
    public async Task Watch_BringsWords_OfTheConversationThatAPathNames(string conversation, string path)
    {
        await using var client = await ConnectAsync();
        await client.Hub.InvokeAsync("Watch", conversation);

        var added = await TestApp.ReadAsync(
            await _app.Http.PostAsJsonAsync(
                $"api/conversations/{path}/messages", new { username = "ayşe", role = "user", content = "merhaba" }));

        var pushed = await client.ReadWordsAsync();
        Assert.That(JsonNode.DeepEquals(pushed, added), Is.True, pushed.ToJsonString());
        Assert.That((string?)added["conversation_id"], Is.EqualTo(conversation));
        Assert.That(
            (await TestApp.ReadAsync(await _app.Http.GetAsync($"api/conversations/{path}/messages")))["messages"]!.AsArray(),
            Has.Count.EqualTo(1));
        Assert.That(
            await _app.Services.GetRequiredService<IMessageStore>().FindConversationAsync(conversation, CancellationToken.None),
            Is.Not.Null);
    }

    [Test]
    public async Task Watch_IsRefused_WhenTooManyAreWatched()
    {
        await using var client = await ConnectAsync();
        for (var i = 0; i < ImagesHub.MaxWatches; i++)
        {
            await _source.BeginAsync($"many-{i}");
            await client.Hub.InvokeAsync("Watch", $"many-{i}");
        }

        await _source.BeginAsync("one-more");
        Assert.That(
            () => client.Hub.InvokeAsync("Watch", "one-more"),
            Throws.InstanceOf<HubException>().With.Message.Contains("100 conversations at most"));
        await client.Hub.InvokeAsync("Unwatch", "many-0");
        await client.Hub.InvokeAsync("Watch", "one-more");
    }

    [Test]
    public async Task Watching_EndsWithTheConnection()
    {
        await _source.BeginAsync("gone");
        await using (var client = await ConnectAsync())
        {
            await client.Hub.InvokeAsync("Watch", "gone");
            Assert.That(Feed.WatcherCount, Is.EqualTo(1));
        }

        await Until.TrueAsync(() => Feed.WatcherCount == 0);
    }

    [Test]
    public async Task SlowClient_DelaysNoOther_AndGetsTheNewestStateInTheEnd()
    {
        var messages = new List<Message>();
        for (var i = 0; i < 5; i++)
            messages.Add(await _source.BeginAsync("slow", new string('ş', 3000)));
        using var slow = await ConnectWithoutReadingAsync("slow");
        await using var quick = await ConnectAsync();
        await quick.Hub.InvokeAsync("Watch", "slow");

        await _source.RunAsync(messages, 1500); // 9 MB for each watcher.
        for (var i = 0; i < messages.Count; i++)
            messages[i] = await _source.CompleteAsync(messages[i]);
        await quick.ReadUntilAsync(messages[^1].Revision);

        var given = await ReadUntilAsync(slow, messages[^1].Revision);
        Assert.That(given, Has.Count.LessThan(1505), "it was behind");
        Assert.That(
            messages.Select(
                message =>
                    (string)given.Last(progress => (long)progress["message_id"]! == message.Id)["status"]!), Is.All.EqualTo("complete"));
        Assert.That(given.Select(progress => (long)progress["revision"]!), Is.Ordered.Ascending);
    }

    /// <summary>Microsoft's client reads whatever comes; this one speaks the protocol and then does nothing.</summary>
    private async Task<ClientWebSocket> ConnectWithoutReadingAsync(string conversation)
    {
        var socket = new ClientWebSocket();
        await socket.ConnectAsync(new UriBuilder(_app.Address) { Scheme = "ws", Path = ImagesHub.Path }.Uri, CancellationToken.None);
        await SendAsync("""{"protocol":"json","version":1}""");
        await SendAsync($$"""{"type":1,"target":"Watch","arguments":["{{conversation}}"]}""");
        await Until.TrueAsync(() => Feed.WatcherCount == 1);
        return socket;

        Task SendAsync(string text) =>
            socket.SendAsync(Encoding.UTF8.GetBytes(text + Separator), WebSocketMessageType.Text, true, CancellationToken.None);
    }

    private static async Task<List<JsonObject>> ReadUntilAsync(ClientWebSocket socket, long revision)
    {
        var all = new List<JsonObject>();
        var text = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (all.Count == 0 || (long)all[^1]["revision"]! < revision)
        {
            var read = await socket.ReceiveAsync(buffer, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
            text.Write(buffer, 0, read.Count);
            if (!read.EndOfMessage)
                continue;
            foreach (var line in Encoding.UTF8.GetString(text.ToArray()).Split(Separator, StringSplitOptions.RemoveEmptyEntries))
            {
                if (JsonNode.Parse(line)!["target"] is not null)
                    all.Add(JsonNode.Parse(line)!["arguments"]![0]!.AsObject());
            }

            text.SetLength(0);
        }

        return all;
    }

    private async Task<Client> ConnectAsync()
    {
        var hub = new HubConnectionBuilder().WithUrl(new Uri(_app.Address, ImagesHub.Path)).Build();
        var client = new Client(hub);
        await hub.StartAsync();
        return client;
    }

    private sealed class Client : IAsyncDisposable
    {
        private readonly Channel<JsonObject> _words = Channel.CreateUnbounded<JsonObject>();

        private readonly Channel<JsonObject> _events = Channel.CreateUnbounded<JsonObject>();

        public Client(HubConnection hub)
        {
            Hub = hub;
            hub.On<JsonObject>(ImagesHub.MessageEventName, message => _words.Writer.TryWrite(message));
            hub.On<JsonObject>(ImagesHub.EventName, progress => _events.Writer.TryWrite(progress));
        }

        public HubConnection Hub { get; }

        public bool IsQuiet => !_events.Reader.TryPeek(out _);

        public async Task<JsonObject> ReadAsync() => await _events.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

        public async Task<JsonObject> ReadWordsAsync() => await _words.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

        public async Task<List<JsonObject>> ReadUntilAsync(long revision)
        {
            var all = new List<JsonObject> { await ReadAsync() };
            while ((long)all[^1]["revision"]! < revision)
                all.Add(await ReadAsync());
            return all;
        }

        public ValueTask DisposeAsync() => Hub.DisposeAsync();
    }
}
