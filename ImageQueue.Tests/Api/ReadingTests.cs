using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Push;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>Reading messages and conversations over HTTP.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ReadingTests
{
    private static TestApp App { get; set; } = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => App = await TestApp.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    /// <summary>The chat app's own "status" is its key and makes no image.</summary>
    [Test]
    public async Task Kind_IsWhatTheProductKnows_WhateverTheKeysAre()
    {
        var words = await AddAsync("kinds", """{"status":"queued","job_id":"x","queue_position":3}""");
        var image = await App.SubmitAsync("a cat", "kinds");

        Assert.That(((string?)words["kind"], (string?)image["kind"]), Is.EqualTo(("text", "image")));
        Assert.That(words["queue"], Is.Null);
        Assert.That((int)words["extra_metadata"]!["queue_position"]!, Is.EqualTo(3));
    }

    [Test]
    public async Task List_ReadsBackwards_PageByPage()
    {
        var ids = new List<long>();
        for (var i = 0; i < 7; i++)
            ids.Add((long)(await AddAsync("pages"))["id"]!);

        var pages = new List<long[]>();
        for (long? before = long.MaxValue; before is not null;)
        {
            var page = await GetAsync($"api/conversations/pages/messages?limit=3&before={before}");
            pages.Add([.. page["messages"]!.AsArray().Select(message => (long)message!["id"]!)]);
            Assert.That((page["next"], (string?)page["username"]), Is.EqualTo(((JsonNode?)null, "ayşe")));
            before = (long?)page["previous"];
        }

        Assert.That(pages, Is.EqualTo(new[] { ids[4..], ids[1..4], ids[..1] }));
        var forwards = await GetAsync("api/conversations/pages/messages?limit=3");
        Assert.That(((long?)forwards["next"], forwards["previous"]), Is.EqualTo((ids[2], (JsonNode?)null)));
    }

    [Test]
    public async Task Conversations_AreListed_NewestFirst_PageByPage()
    {
        foreach (var conversation in new[] { "l1", "l2", "l3", "l1" })
            await AddAsync(conversation, username: "zeynep");

        var first = await GetAsync("api/conversations?username=zeynep&limit=2");
        var second = await GetAsync($"api/conversations?username=zeynep&limit=2&after={first["next"]}");

        Assert.That(Ids(first).Concat(Ids(second)), Is.EqualTo(new[] { "l1", "l3", "l2" }));
        Assert.That(second["next"], Is.Null);
        Assert.That(
            first["conversations"]![0]!.AsObject().Select(member => member.Key),
            Is.EqualTo(new[] { "id", "title", "created_at", "updated_at" }));

        static IEnumerable<string?> Ids(JsonObject page) => page["conversations"]!.AsArray().Select(one => (string?)one!["id"]);
    }

    [Test]
    public async Task Get_Is304_UntilTheMessageChanges()
    {
        var id = (long)(await AddAsync("tags"))["id"]!;
        var first = await App.Http.GetAsync($"api/messages/{id}");
        var tag = first.Headers.ETag!;
        Assert.That(tag.ToString(), Is.EqualTo($"\"{(await TestApp.ReadAsync(first))["revision"]}\""));

        foreach (var known in new[] { tag.ToString(), $"W/{tag}", $"\"x\", {tag}", "*" })
        {
            var same = await GetAsync($"api/messages/{id}", known);
            Assert.That(
                (same.StatusCode, same.Headers.ETag, await same.Content.ReadAsStringAsync()),
                Is.EqualTo((HttpStatusCode.NotModified, tag, "")),
                known);
        }

        Assert.That((await GetAsync($"api/messages/{id}", "nonsense")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await PatchAsync(id, """{"extra_metadata":{"a":1}}""");
        Assert.That((await GetAsync($"api/messages/{id}", tag.ToString())).StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [TestCase("{}")]
    [TestCase("""{"extra_metadata":{}}""")]
    [TestCase("""{"extra_metadata":null,"content":null}""")]
    public async Task Patch_ChangesNoRevision_WhenItIsEmpty(string patch)
    {
        var added = await AddAsync("empty-patch");

        var answer = await TestApp.ReadAsync(await PatchAsync((long)added["id"]!, patch));

        Assert.That(JsonNode.DeepEquals(answer, added), Is.True, answer.ToJsonString());
        Assert.That(JsonNode.DeepEquals(await App.GetMessageAsync((long)added["id"]!), added), Is.True);
    }

    [Test]
    public async Task Patch_Is422AndWritesNothing_WhenTheDocumentWouldBeTooLarge()
    {
        var id = (long)(await AddAsync("large"))["id"]!;
        for (var i = 0; i < 4; i++)
        {
            Assert.That(
                (await PatchAsync(id, $$$"""{"extra_metadata":{"k{{{i}}}":"{{{new string('x', 60_000)}}}"}}""")).StatusCode,
                Is.EqualTo(HttpStatusCode.OK));
        }

        var before = await App.GetMessageAsync(id);

        var response = await PatchAsync(id, $$$"""{"content":"new","extra_metadata":{"k5":"{{{new string('x', 60_000)}}}"}}""");

        var problem = await TestApp.ReadAsync(response);
        Assert.That((response.StatusCode, (string?)problem["code"]), Is.EqualTo((HttpStatusCode.UnprocessableEntity, "invalid_request")));
        Assert.That((string?)problem["errors"]!["extra_metadata"]![0], Does.Contain("256 KiB"));
        Assert.That(JsonNode.DeepEquals(await App.GetMessageAsync(id), before), Is.True);
    }

    [Test]
    public async Task Head_AnswersWhereverGetDoes()
    {
        var message = await App.SubmitAsync("a cat", "heads");
        var done = await App.WaitForAsync((long)message["id"]!, MessageStatus.Complete);
        string[] paths =
        [
            $"api/messages/{message["id"]}", "api/conversations/heads/messages", "api/conversations?username=ayşe", "api/queue",
            "openapi/v1.json",
            $"{done["extra_metadata"]!["image_url"]}"[1..], $"images/flux_{done["extra_metadata"]!["job_id"]}.preview.jpg", "",
            "chat/base.css", "health/live",
        ];
        foreach (var path in paths)
        {
            using var request = new HttpRequestMessage(HttpMethod.Head, path);
            using var head = await App.Http.SendAsync(request);
            using var get = await App.Http.GetAsync(path);
            Assert.That(
                (head.StatusCode, head.Content.Headers.ContentType), Is.EqualTo((get.StatusCode, get.Content.Headers.ContentType)), path);
            Assert.That(await head.Content.ReadAsByteArrayAsync(), Is.Empty, path);
        }
    }

    /// <summary>"Waiting 1, processing 0, healthy" has a reason.</summary>
    [Test]
    public async Task Queue_SaysSinceWhenAndWhy_WhileABackendDrains()
    {
        var pool = App.Services.GetRequiredService<BackendPool>();
        var reservation = await pool.AcquireAsync(1, BackendRequirements.Any, CancellationToken.None);
        var answer = new TaskCompletionSource<ForgeImage>();
        reservation.Abandon("task-1", "its request timed out", answer.Task, new CancellationTokenSource());

        var backend = (await GetAsync("api/queue"))["backends"]![0]!;
        Assert.That(((bool)backend["healthy"]!, (string?)backend["draining"]!["why"]), Is.EqualTo((true, "its request timed out")));
        Assert.That((DateTimeOffset)backend["draining"]!["since"]!, Is.EqualTo(pool.Status[0].Drain!.Value.Since));

        answer.SetResult(new ForgeImage(default, null));
        await Until.TrueAsync(async () => (await GetAsync("api/queue"))["backends"]![0]!["draining"] is null, "the drain is over");
    }

    /// <summary>One answer, when the image is there: no polling.</summary>
    [Test]
    public async Task Wait_AnswersWhenTheImageHasEnded_OnSubmitAndOnGet()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "api/conversations/waits/images")
        {
            Content = JsonContent.Create(new { username = "ayşe", prompt = "a cat" }),
            Headers = { { "Prefer", "respond-async, wait=30" } },
        };
        var submitted = await App.Http.SendAsync(request);
        Assert.That(submitted.StatusCode, Is.EqualTo(HttpStatusCode.Accepted));
        Assert.That(submitted.Headers.GetValues("Preference-Applied"), Is.EqualTo(new[] { "wait=30" }));
        Assert.That((string?)(await TestApp.ReadAsync(submitted))["extra_metadata"]!["status"], Is.EqualTo("complete"));

        var source = new PushSource(App);
        var message = await source.BeginAsync("waits");
        var waiting = GetWaitingAsync(message.Id, "wait=60");
        await Until.TrueAsync(() => App.Services.GetRequiredService<MessageFeed>().WatcherCount == 1);
        await source.ProgressAsync(message, 50);
        Assert.That(waiting.IsCompleted, Is.False);
        await source.CompleteAsync(message);
        Assert.That((string?)(await TestApp.ReadAsync(await waiting))["extra_metadata"]!["status"], Is.EqualTo("complete"));
        await Until.TrueAsync(() => App.Services.GetRequiredService<MessageFeed>().WatcherCount == 0);
    }

    [Test]
    public async Task Wait_AnswersWithWhatIsThere_WhenTheTimeIsOver()
    {
        var message = await new PushSource(App).BeginAsync("waits");

        var answer = await GetWaitingAsync(message.Id, "wait=1");

        Assert.That(
            (answer.StatusCode, (string?)(await TestApp.ReadAsync(answer))["extra_metadata"]!["status"]),
            Is.EqualTo((HttpStatusCode.OK, "processing")));
    }

    [Test]
    public async Task Wait_Ends_WhenTheServerStops()
    {
        var app = await TestApp.StartAsync();
        await using var _ = app;
        var message = await new PushSource(app).BeginAsync("waits");
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/messages/{message.Id}") { Headers = { { "Prefer", "wait=60" } } };
        using var http = new HttpClient { BaseAddress = app.Address };
        var waiting = http.SendAsync(request);
        await Until.TrueAsync(() => app.Services.GetRequiredService<MessageFeed>().WatcherCount == 1);

        await app.DisposeAsync();

        Assert.That((await waiting.WaitAsync(TimeSpan.FromSeconds(20))).StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    /// <summary>What was accepted is not taken back because it cannot be watched.</summary>
    [Test]
    public async Task Wait_AnswersWithWhatWasAccepted_WhenTheDatabaseGoesAway()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "600" }, configure: builder => FaultyStore.PutAround(builder.Services));
        using var request = new HttpRequestMessage(HttpMethod.Post, "api/conversations/waits/images")
        {
            Content = JsonContent.Create(new { username = "ayşe", prompt = "a cat" }),
            Headers = { { "Prefer", "wait=30" } },
        };
        app.Services.GetRequiredService<FaultyStore.Faults>().OfNameless = FaultyStore.Away;
        Assert.That((await app.Http.SendAsync(request)).StatusCode, Is.EqualTo(HttpStatusCode.Accepted));
    }

    [TestCase("wait=soon")]
    [TestCase("wait=-1")]
    [TestCase("waits=9")]
    [TestCase("return=minimal")]
    public async Task Wait_IsIgnored_WhenItMakesNoSense(string prefer)
    {
        var message = await new PushSource(App).BeginAsync("waits");

        var answer = await GetWaitingAsync(message.Id, prefer);

        Assert.That(answer.Headers.Contains("Preference-Applied"), Is.False);
    }

    /// <summary>As a proxy may send it: with the host in the request line.</summary>
    [Test]
    public async Task ConversationId_IsTheSame_InAnAbsoluteRequestLine()
    {
        await AddAsync("abs%C3%B6lute");
        using var client = new TcpClient();
        await client.ConnectAsync(App.Address.Host, App.Address.Port);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
            $"GET http://localhost:{App.Address.Port}/api/conversations/abs%C3%B6lute/messages HTTP/1.1\r\nHost: "
                + $"localhost:{App.Address.Port}\r\nConnection: close\r\n\r\n"));

        using var reader = new StreamReader(client.GetStream());
        Assert.That(await reader.ReadLineAsync(), Is.EqualTo("HTTP/1.1 200 OK"));
    }

    private static async Task<JsonObject> AddAsync(string conversation, string metadata = "{}", string username = "ayşe")
    {
        var response = await App.Http.PostAsJsonAsync(
            $"api/conversations/{conversation}/messages",
            new JsonObject
            {
                ["username"] = username,
                ["role"] = "user",
                ["content"] = "merhaba",
                ["extra_metadata"] = JsonNode.Parse(metadata),
            });
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    private static async Task<JsonObject> GetAsync(string path) => await TestApp.ReadAsync(await App.Http.GetAsync(path));

    private static async Task<HttpResponseMessage> GetAsync(string path, string ifNoneMatch)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("If-None-Match", ifNoneMatch);
        return await App.Http.SendAsync(request);
    }

    private static async Task<HttpResponseMessage> GetWaitingAsync(long id, string prefer)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/messages/{id}") { Headers = { { "Prefer", prefer } } };
        return await App.Http.SendAsync(request);
    }

    private static Task<HttpResponseMessage> PatchAsync(long id, string patch) =>
        App.Http.PatchAsync($"api/messages/{id}", new StringContent(patch, Encoding.UTF8, "application/merge-patch+json"));
}
