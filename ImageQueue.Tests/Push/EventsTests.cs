using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Push;

/// <summary>Server-Sent Events, over real connections.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class EventsTests
{
    private const string Path = "api/conversations/demo/events";

    private TemporaryFolder _folder = null!;
    private TestApp _app = null!;
    private PushSource _source = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _folder = new TemporaryFolder();
        _app = await TestApp.StartAsync(new() { ["Push:Heartbeat"] = "00:00:00.2000000", ["Push:SlowestReader"] = "00:01:00" }, _folder);
        _source = new PushSource(_app);
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _app.DisposeAsync();
        _folder.Dispose();
    }

    [Test]
    public async Task Stream_SaysHowToComeBack_BeforeAnythingHappens()
    {
        var message = await _source.BeginAsync();
        using var response = await _app.Http.GetAsync(Path, HttpCompletionOption.ResponseHeadersRead);

        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync());
        string?[] first = [await lines.ReadLineAsync(), await lines.ReadLineAsync(), await lines.ReadLineAsync()];

        Assert.Multiple(() =>
        {
            Assert.That(first, Is.EqualTo(new[] { "retry: 2000", $"id: {message.Revision}", "" }));
            Assert.That(response.Content.Headers.ContentType?.ToString(), Is.EqualTo("text/event-stream; charset=utf-8"));
            Assert.That(response.Headers.CacheControl, Is.EqualTo(new CacheControlHeaderValue { NoCache = true, NoTransform = true }));
            Assert.That(response.Headers.GetValues("X-Accel-Buffering"), Is.EqualTo(new[] { "no" }));
            Assert.That(response.Content.Headers.ContentLength, Is.Null);
        });
    }

    [Test]
    public async Task Stream_IsNeverSilentForLong_AlsoWhileOnlyOthersWrite()
    {
        await _source.BeginAsync();
        using var response = await _app.Http.GetAsync(
            "api/events?conversation_id=demo&conversation_id=another", HttpCompletionOption.ResponseHeadersRead);
        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync());
        using var stop = new CancellationTokenSource();
        var talking = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                await _app.Http.PostAsJsonAsync(
                    "api/conversations/other/messages", new { username = "ayşe", role = "user", content = "merhaba" });
                await Task.Delay(20);
            }
        });

        var heartbeats = 0;
        while (heartbeats < 3)
        {
            var line = await lines.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(20));
            Assert.That(line, Does.Not.StartWith("event:"), "no watched conversation has changed");
            heartbeats += line == ": still here" ? 1 : 0;
        }

        await stop.CancelAsync();
        await talking;
    }

    [Test]
    public async Task Event_HasTheWholeObject_AndItsRevisionAsId()
    {
        var message = await _source.BeginAsync(prompt: "bir kedi </script> 🐈 İı");
        using var events = await SseReader.OpenAsync(_app.Http, Path);
        message = await _source.ProgressAsync(message, 40);

        var progress = await events.ReadAsync();

        var expected = new JsonObject
        {
            ["username"] = "ayşe",
            ["conversation_id"] = "demo",
            ["message_id"] = message.Id,
            ["job_id"] = message.JobId,
            ["status"] = "processing",
            ["progress"] = 40,
            ["queue_position"] = 0,
            ["prompt"] = "bir kedi </script> 🐈 İı",
            ["settings"] = new JsonObject { ["width"] = 64 },
            ["source"] = null,
            ["group_id"] = null,
            ["result"] = null,
            ["metadata"] = new JsonObject(),
            ["image_url"] = null,
            ["thumbnail_url"] = null,
            ["preview_url"] = null,
            ["error"] = null,
            ["error_code"] = null,
            ["revision"] = message.Revision,
        };
        progress.Remove("eta_seconds");
        Assert.Multiple(() =>
        {
            Assert.That(JsonNode.DeepEquals(progress, expected), Is.True, progress.ToJsonString());
            Assert.That(events.LastEventId, Is.EqualTo(message.Revision.ToString(CultureInfo.InvariantCulture)));
        });
    }

    [TestCase(null)]
    [TestCase("last_event_id")]
    [TestCase("lastEventId")]
    [TestCase("Last-Event-ID")]
    public async Task Stream_ReplaysTheNewestStateOfEach_AfterAThousandChanges(string? inQuery)
    {
        var messages = new List<Message>();
        for (var i = 0; i < 10; i++)
            messages.Add(await _source.BeginAsync());
        await _source.BeginAsync("another");
        string? seen;
        using (var events = await SseReader.OpenAsync(_app.Http, Path))
        {
            await _source.ProgressAsync(messages[0], 1);
            await events.ReadAsync();
            seen = events.LastEventId;
        }

        await _source.RunAsync(messages.Skip(1).ToList(), 1000);
        for (var i = 1; i < 9; i++)
            await _source.CompleteAsync(messages[10 - i]);

        using var again = inQuery is not null
            ? await SseReader.OpenAsync(_app.Http, $"{Path}?{inQuery}={seen}") : await SseReader.OpenAsync(_app.Http, Path, seen);
        var given = await again.ReadUntilAsync(progress => (long)progress["message_id"]! == messages[2].Id);
        var after = await _source.ProgressAsync(messages[0], 50);
        Assert.Multiple(async () =>
        {
            Assert.That(
                given.Select(progress => (long)progress["message_id"]!),
                Is.EqualTo(new[] { 1, 9, 8, 7, 6, 5, 4, 3, 2 }.Select(i => messages[i].Id)));
            Assert.That(given.Skip(1).Select(progress => (string)progress["status"]!), Is.All.EqualTo("complete"));
            Assert.That(given.Select(progress => (long)progress["revision"]!), Is.Ordered.Ascending);
            Assert.That((long)(await again.ReadAsync())["revision"]!, Is.EqualTo(after.Revision), "nothing comes twice");
        });
    }

    [Test]
    public async Task Stream_MissesNothing_WhenCutOffBeforeItsFirstEvent()
    {
        var message = await _source.BeginAsync();
        await using var line = new TcpProxy(_app.Address.Host, _app.Address.Port);
        await using var reader = new ReconnectingReader(new Uri($"http://127.0.0.1:{line.Port}"), Path);
        await Until.TrueAsync(() => reader.Connections == 1);
        await Task.Delay(100);
        line.Cut();
        await _source.CompleteAsync(message);
        line.Mend();

        await Until.TrueAsync(() => reader.StatusOf(message.Id) == MessageStatus.Complete);
        Assert.That(reader.Events, Has.Count.EqualTo(1));
    }

    [TestCase("abc")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("99999999999999999999")]
    public async Task Stream_IsRefused_WhenTheIdIsNoRevision(string id)
    {
        await _source.BeginAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, Path);
        request.Headers.TryAddWithoutValidation("Last-Event-ID", id);

        using var response = await _app.Http.SendAsync(request);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((string?)(await TestApp.ReadAsync(response))["detail"], Does.Contain("revision"));
    }

    [Test]
    public async Task Stream_WaitsForTheFirstMessage_WhenThereIsNoConversationYet()
    {
        using var events = await SseReader.OpenAsync(_app.Http, Path);

        var message = await _source.BeginAsync();

        Assert.That(
            (long)(await events.ReadUntilAsync(progress => (string?)progress["status"] == "processing"))[^1]["message_id"]!,
            Is.EqualTo(message.Id));
    }

    [Test]
    public async Task Stream_BringsWords_AsTheMessageItself()
    {
        using var events = await SseReader.OpenAsync(_app.Http, Path);
        var added = await AddAsync("demo", "merhaba");

        var pushed = await events.ReadAsync();

        Assert.That(JsonNode.DeepEquals(pushed, added), Is.True, pushed.ToJsonString());
        Assert.That(events.LastEventName, Is.EqualTo("message"));
    }

    [Test]
    public async Task Event_HasTheError_WhenARequestFails()
    {
        var message = await _source.BeginAsync();
        using var events = await SseReader.OpenAsync(_app.Http, Path);

        await _app.Services.GetRequiredService<IMessageStore>().FailAsync(
            message.Id, message.Attempt, "c", new RequestFailure(ErrorCodes.OutOfMemory, "Yetmedi."), CancellationToken.None);

        var progress = await events.ReadAsync();
        Assert.That(
            ((string?)progress["status"], (string?)progress["error"], (string?)progress["error_code"]),
            Is.EqualTo(("error", "Yetmedi.", "out_of_memory")));
    }

    /// <summary>A server's own stream: everything, and after an outage of its own what it has missed.</summary>
    [Test]
    public async Task AllEvents_BringEveryConversation_AndReplayWhatWasMissed()
    {
        string? seen;
        using (var events = await SseReader.OpenAsync(_app.Http, "api/events"))
        {
            await AddAsync("one", "bir");
            await AddAsync("two", "iki");
            var both = new[] { await events.ReadAsync(), await events.ReadAsync() };
            Assert.That(both.Select(one => (string?)one["conversation_id"]), Is.EqualTo(new[] { "one", "two" }));
            seen = events.LastEventId;
        }

        var missed = await AddAsync("three", "üç");

        using var again = await SseReader.OpenAsync(_app.Http, "api/events", seen);
        Assert.That((long)(await again.ReadAsync())["id"]!, Is.EqualTo((long)missed["id"]!));
        using var fromTheStart = await SseReader.OpenAsync(_app.Http, "api/events", "0");
        Assert.That((await fromTheStart.ReadUntilAsync(one => (string?)one["conversation_id"] == "three")), Has.Count.EqualTo(3));
    }

    [Test]
    public async Task AllEvents_BringSomeConversations_WhenAskedFor()
    {
        using var events = await SseReader.OpenAsync(_app.Http, "api/events?conversation_id=one&conversation_id=a%2Fb");
        foreach (var conversation in new[] { "two", "one", "a%2Fb", "three" })
            await AddAsync(conversation, "merhaba");

        Assert.That((string?)(await events.ReadAsync())["conversation_id"], Is.EqualTo("one"));
        Assert.That((string?)(await events.ReadAsync())["conversation_id"], Is.EqualTo("a/b"));
    }

    [TestCase(Path)]
    [TestCase("api/events")]
    public async Task Head_SaysWhatAStreamIs_AndEnds(string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, path);

        using var response = await _app.Http.SendAsync(request);

        Assert.That(
            (response.StatusCode, response.Content.Headers.ContentType?.MediaType), Is.EqualTo((HttpStatusCode.OK, "text/event-stream")));
    }

    [Test]
    public async Task Stream_EndsAtOnce_WhenTheServerStops()
    {
        await _source.BeginAsync();
        using var events = await SseReader.OpenAsync(_app.Http, Path);
        var reading = events.ReadAsync();

        var started = Stopwatch.GetTimestamp();
        await _app.DisposeAsync();

        Assert.That(async () => await reading, Throws.InstanceOf<EndOfStreamException>().Or.InstanceOf<IOException>());
        Assert.That(Stopwatch.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(10)));
        Assert.That(_app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    [Test]
    public async Task Watching_EndsWithTheConnection()
    {
        await _source.BeginAsync();
        var feed = _app.Services.GetRequiredService<MessageFeed>();
        using (await SseReader.OpenAsync(_app.Http, Path))
            await Until.TrueAsync(() => feed.WatcherCount == 1);

        await Until.TrueAsync(() => feed.WatcherCount == 0);
        Assert.That(_app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    [Test]
    public async Task EachChange_ArrivesByItself_WhenThisProcessWrites()
    {
        var message = await _source.BeginAsync();
        using var events = await SseReader.OpenAsync(_app.Http, Path);
        var times = new List<double>();
        for (var i = 1; i <= 30; i++)
        {
            var started = Stopwatch.GetTimestamp();
            await _source.ProgressAsync(message, i);
            Assert.That((int)(await events.ReadAsync())["progress"]!, Is.EqualTo(i));
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        }

        TestContext.Out.WriteLine($"median {times.Order().ElementAt(times.Count / 2):0} ms");
    }

    [Test]
    public async Task EachChange_ArrivesByItself_WhenAnotherProcessWrites()
    {
        var message = await _source.BeginAsync();
        await using var other = new SqliteMessageStore(
            $"Data Source={System.IO.Path.Combine(_folder.Path, "imagequeue.db")}", TimeProvider.System, new AsyncSignal());
        var others = new PushSource(_app, other);
        using var events = await SseReader.OpenAsync(_app.Http, Path);
        var times = new List<double>();
        for (var i = 1; i <= 5; i++)
        {
            var started = Stopwatch.GetTimestamp();
            await others.ProgressAsync(message, i);
            Assert.That((int)(await events.ReadAsync())["progress"]!, Is.EqualTo(i));
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        }

        TestContext.Out.WriteLine($"median {times.Order().ElementAt(times.Count / 2):0} ms");
    }

    [Test]
    public async Task SlowClient_DelaysNoOther_AndGetsTheNewestStateInTheEnd()
    {
        var prompt = new string('ş', 3000);
        var messages = new List<Message>();
        for (var i = 0; i < 5; i++)
            messages.Add(await _source.BeginAsync(prompt: prompt));
        using var stalled = new TcpClient { ReceiveBufferSize = 4096 };
        await stalled.ConnectAsync(_app.Address.Host, _app.Address.Port);
        await stalled.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"GET /{Path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        await Until.TrueAsync(() => _app.Services.GetRequiredService<MessageFeed>().WatcherCount == 1);
        using var quick = await SseReader.OpenAsync(_app.Http, Path);
        var reading = quick.ReadUntilAsync(progress => (string)progress["status"]! == "complete"
            && (long)progress["message_id"]! == messages[^1].Id);

        await _source.RunAsync(messages, 1500); // 9 MB for each watcher.
        foreach (var message in messages)
            await _source.CompleteAsync(message);
        await reading;

        // The stalled client reads at last: less than everything, and the end of each.
        var text = new StringBuilder();
        var buffer = new byte[64 * 1024];
        var decoder = Encoding.UTF8.GetDecoder();
        var characters = new char[buffer.Length];
        while (Count(text, "\"status\":\"complete\"") < messages.Count)
        {
            var read = await stalled.GetStream().ReadAsync(buffer).AsTask().WaitAsync(TimeSpan.FromSeconds(20));
            Assert.That(read, Is.Positive, "the server gave the client up");
            text.Append(characters, 0, decoder.GetChars(buffer, 0, read, characters, 0));
        }
    }

    [Test]
    public async Task Restart_LosesNoFinalState_ForAClientThatComesBack()
    {
        using var folder = new TemporaryFolder();
        var urls = $"http://127.0.0.1:{Ports.FindFree()}";
        long[] ids;
        ReconnectingReader reader;
        await using (var first = await TestApp.StartAsync(new() { ["Urls"] = urls, ["Forge:Simulator:SecondsPerImage"] = "600" }, folder))
        {
            ids = [
                (long)(await first.SubmitAsync("one"))["id"]!,
                (long)(await first.SubmitAsync("two"))["id"]!,
                (long)(await first.SubmitAsync("three"))["id"]!];
            reader = new ReconnectingReader(first.Address, Path);
            await Until.TrueAsync(() => reader.Connections == 1);
            await first.WaitForAsync(ids[0], MessageStatus.Processing);
        }

        await using var _ = reader;
        await using var second = await TestApp.StartAsync(new() { ["Urls"] = urls }, folder);
        foreach (var id in ids)
            await second.WaitForAsync(id, MessageStatus.Complete);

        await Until.TrueAsync(() => ids.All(id => reader.StatusOf(id) == MessageStatus.Complete));
        Assert.That(reader.Events.Select(progress => (long)progress["revision"]!), Is.Ordered.Ascending);
    }

    [Test]
    public async Task Kill_LosesNoFinalState_ForAClientThatComesBack()
    {
        using var folder = new TemporaryFolder();
        var urls = $"http://127.0.0.1:{Ports.FindFree()}";
        long one, two;
        await using (
            var first = await AppProcess.StartAsync(
                folder.Path, null, new() { ["ASPNETCORE_URLS"] = urls, ["Forge__Simulator__SecondsPerImage"] = "600" }))
        {
            one = (long)(await first.SubmitAsync("one"))["id"]!;
            two = (long)(await first.SubmitAsync("two"))["id"]!;
            await first.WaitForAsync(one, MessageStatus.Processing);
            await using var reader = new ReconnectingReader(new Uri(urls), Path);
            await Until.TrueAsync(() => reader.Connections == 1);
            await first.KillAsync();

            await using var second = await AppProcess.StartAsync(
                folder.Path, null, new() { ["ASPNETCORE_URLS"] = urls, ["Forge__Simulator__SecondsPerImage"] = "0" });
            await second.WaitForAsync(one, MessageStatus.Complete);
            await second.WaitForAsync(two, MessageStatus.Complete);
            await Until.TrueAsync(() => reader.StatusOf(one) == MessageStatus.Complete && reader.StatusOf(two) == MessageStatus.Complete);
            Assert.That(reader.Connections, Is.GreaterThan(1));
            Assert.That(reader.Events.Select(progress => (long)progress["revision"]!), Is.Ordered.Ascending);
        }
    }

    private async Task<JsonObject> AddAsync(string conversation, string content)
    {
        var response = await _app.Http.PostAsJsonAsync(
            $"api/conversations/{conversation}/messages", new { username = "ayşe", role = "user", content });
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created));
        return await TestApp.ReadAsync(response);
    }

    private static int Count(StringBuilder text, string what) => text.ToString().Split(what).Length - 1;
}
