using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Push;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Api.Description;

/// <summary>
/// The description against the running app: every status that it names is provoked once, and what comes is held against its
/// schema, its headers and its codes.
/// </summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ApiDescriptionTests
{
    private const string Busy = "busy";

    private static readonly byte[] Png = [0x89, (byte)'P', (byte)'N', (byte)'G'];

    /// <summary>Who may ask, and how often, is provoked where it is decided: in the tests of Auth.</summary>
    private static readonly string[] ProvokedElsewhere = [ProblemCodes.Unauthorized, ProblemCodes.Forbidden, ProblemCodes.RateLimited];

    /// <summary>Headers that an answer may have only where they are described.</summary>
    private static readonly string[] DescribedHeaders = ["Location", "ETag", "Retry-After", "Idempotency-Replayed", "Preference-Applied"];

    private TestApp _app = null!; // Set before any test runs.
    private PushSource _source = null!; // Set before any test runs.
    private ApiDescription _description = null!; // Set before any test runs.

    private IMessageStore Store => _app.Services.GetRequiredService<IMessageStore>();

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "600", ["Queue:MaxPendingPerUser"] = "2" },
            configure: builder => FaultyStore.PutAround(builder.Services));
        _source = new PushSource(_app);
        _description = await ApiDescription.ReadAsync(_app.Http);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    /// <summary>A retry is held to the limits of a submit.</summary>
    [TestCase("submitImage")]
    [TestCase("retryMessage")]
    public void FullQueue_IsDescribed_WhereARequestJoinsIt(string id) => Assert.That(
        _description.Operations.Single(one => one.Id == id).Operation["responses"]!["429"]!["x-codes"]!.ToJsonString(),
        Does.Contain(ProblemCodes.TooManyPending).And.Contain(ProblemCodes.QueueFull));

    [Test]
    public async Task EveryDescribedStatus_IsAnsweredAsDescribed()
    {
        var provocations = Provocations();
        Assert.Multiple(() =>
        {
            foreach (var (id, _, _, operation) in _description.Operations)
            {
                var described = operation["responses"]!.AsObject()
                    .Where(response => !IsProvokedElsewhere(response.Value!))
                    .Select(response => $"{id} {response.Key}");
                Assert.That(described.Except(provocations.Keys), Is.Empty, "each described status is provoked; add how to the table");
            }

            var all = _description.Operations.SelectMany(
                one => one.Operation["responses"]!.AsObject().Select(response => $"{one.Id} {response.Key}"));
            Assert.That(provocations.Keys.Except(all), Is.Empty, "what is provoked is described");
        });

        var faults = _app.Services.GetRequiredService<FaultyStore.Faults>();
        foreach (var (name, provoke) in provocations)
        {
            var (id, status) = name.Split(' ') is [var left, var right] ? (left, right) : throw new InvalidOperationException(name);
            var (_, method, path, operation) = _description.Operations.Single(one => one.Id == id);
            using var request = await provoke();
            AssertIs(request, method, path);
            faults.OfNameless = request.Options.TryGetValue(Fault, out var fault) ? fault : null;
            try
            {
                using var response = await _app.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                await AssertAsDescribedAsync(name, status, _description.Resolve(operation["responses"]![status]!), response);
            }
            finally
            {
                faults.OfNameless = null;
            }
        }
    }

    /// <summary>The test above must be able to fail.</summary>
    [Test]
    public async Task Difference_IsFound_WhenAnAnswerIsNotAsDescribed()
    {
        var message = await _app.GetMessageAsync((await _source.BeginAsync()).Id);
        var schema = new JsonObject { ["$ref"] = "#/components/schemas/ImageMessage" };
        Assert.That(_description.Difference(schema, message), Is.Null);

        foreach (var change in new Action<JsonObject>[]
        {
            one => one.Remove("kind"),
            one => one["more"] = 1,
            one => one["id"] = "1",
            one => one["created_at"] = "yesterday",
            one => one["extra_metadata"]!["progress"] = 101,
            one => one["extra_metadata"]!["status"] = "waiting",
        })
        {
            var wrong = message.DeepClone().AsObject();
            change(wrong);
            Assert.That(_description.Difference(schema, wrong), Is.Not.Null, wrong.ToJsonString());
        }
    }

    [Test]
    public void EveryCall_IsDescribed_Whole()
    {
        var calls = _app.Services.GetRequiredService<IApiDescriptionGroupCollectionProvider>().ApiDescriptionGroups.Items
            .SelectMany(group => group.Items)
            .Where(call => call.HttpMethod != "HEAD" && call.GroupName is null) // The compatible APIs have documents of their own.
            .Select(call => call.HttpMethod!.ToLowerInvariant() + " /"
                + System.Text.RegularExpressions.Regex.Replace(call.RelativePath!, @"\{(\w+):[^}]*(\}\}?[^}/]*)*\}", "{$1}"))
            .ToList();
        var operations = _description.Operations.ToList();
        var tags = _description.Document["tags"]!.AsArray().Select(tag => (string?)tag!["name"]).ToList();

        Assert.Multiple(() =>
        {
            Assert.That(tags, Is.Unique);
            Assert.That(operations, Has.Count.EqualTo(calls.Count).And.Count.GreaterThan(12));
            Assert.That(operations.Select(one => one.Id), Is.Unique.And.All.Match("^[a-z][A-Za-z]+$"));
            foreach (var (id, _, path, operation) in operations)
            {
                Assert.That((string?)operation["summary"], Does.Match("^[A-Z][a-z]+( [a-z]+)+$"), $"{id}: verb and noun");
                Assert.That((string?)operation["description"], Does.EndWith("."), id);
                Assert.That(tags, Has.One.EqualTo((string?)operation["tags"]!.AsArray().Single()), id);
                var parameters = (operation["parameters"] as JsonArray ?? []).Select(parameter => parameter!).ToList();
                Assert.That(
                    parameters.Where(parameter => (string?)parameter["in"] == "path")
                        .Select(parameter => $"{{{parameter["name"]}}}")
                        .All(path.Contains),
                    Is.True,
                    id);
                foreach (var (status, response) in operation["responses"]!.AsObject())
                    Assert.That((string?)_description.Resolve(response!)["description"], Is.Not.Empty, $"{id} {status}");
            }

            Assert.That(_description.Document["openapi"]!.ToString(), Does.StartWith("3.1."));
            Assert.That(Texts(_description.Document), Has.None.Contains("Ends with the connection").And.None.Contains("conversationId"));
        });
    }

    /// <summary>The document is the same behind a proxy and for every caller.</summary>
    [Test]
    public async Task Document_TakesNoHost_FromTheRequest()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "openapi/v1.json") { Headers = { Host = "localhost:4711" } };
        var text = await (await _app.Http.SendAsync(request)).Content.ReadAsStringAsync();

        Assert.That(text, Does.Not.Contain("4711").And.Not.Contain("127.0.0.1").And.Not.Contain("localhost"));
        Assert.That(text, Is.EqualTo(await _app.Http.GetStringAsync("openapi/v1.json")));
        Assert.That((string?)_description.Document["servers"]![0]!["url"], Is.EqualTo("/"));
    }

    [Test]
    public void References_LeadSomewhere_AndExamplesAreRight()
    {
        Assert.Multiple(() =>
        {
            foreach (var node in Nodes(_description.Document).OfType<JsonObject>())
            {
                if (node["$ref"] is not null)
                    Assert.That(() => _description.Resolve(node), Throws.Nothing);
                if (node["example"] is { } example)
                    Assert.That(_description.Difference(node["schema"]!, example), Is.Null);
            }
        });
    }

    [Test]
    public void Codes_AreTheProductsOwn()
    {
        var schemas = _description.Document["components"]!["schemas"]!;
        IEnumerable<string> Values(JsonNode schema) =>
            schema["enum"]!.AsArray().Where(value => value is not null).Select(value => (string)value!);

        Assert.Multiple(() =>
        {
            Assert.That(Values(schemas["Problem"]!["properties"]!["code"]!), Is.EquivalentTo(ProblemCodes.Titles.Keys));
            Assert.That(Values(schemas["ImageErrorCode"]!), Is.EquivalentTo(Constants(typeof(ErrorCodes))));
            Assert.That(
                Values(schemas["ImageProgressEvent"]!["properties"]!["error_code"]!), Is.EquivalentTo(Constants(typeof(ErrorCodes))));
            Assert.That(Values(schemas["ImageStatus"]!), Is.EquivalentTo(Constants(typeof(MessageStatus))));
            Assert.That(
                MetadataFields.All, Is.SubsetOf(schemas["ImageMetadata"]!["properties"]!.AsObject().Select(property => property.Key)));
        });

        static IEnumerable<string> Constants(Type type) =>
            type.GetFields().Where(field => field.IsLiteral).Select(field => (string)field.GetRawConstantValue()!);
    }

    /// <summary>Streams are described as what they are: text, whose every event is described.</summary>
    [TestCase("api/conversations/streams/events")]
    [TestCase("api/events")]
    public async Task Events_AreAsDescribed(string path)
    {
        using var events = await SseReader.OpenAsync(_app.Http, path);
        var image = await _source.BeginAsync("streams");
        await Store.FailAsync(image.Id, image.Attempt, "c", new RequestFailure(ErrorCodes.Stalled, "x"), default);
        var done = await _source.CompleteAsync(await _source.BeginAsync("streams"));
        await Store.AddAsync(
            new NewMessage("streams", "ayşe", "user", "merhaba", MetadataPatch.Parse("""{"status":{"mine":true}}""")), default);

        var names = new HashSet<string>();
        while (names.Count < 2)
        {
            var data = await events.ReadAsync();
            names.Add(events.LastEventName);
            var all = new JsonObject { ["id"] = events.LastEventId, ["event"] = events.LastEventName, ["data"] = data };
            Assert.That(
                _description.Difference(new JsonObject { ["$ref"] = "#/components/schemas/ServerSentEvent" }, all),
                Is.Null,
                all.ToJsonString());
        }

        Assert.That(names, Is.EquivalentTo(new[] { "image_progress", "message" }));
    }

    [TestCase("Development", null, 200)]
    [TestCase("Development", "false", 404)]
    [TestCase("Production", null, 404)]
    [TestCase("Production", "true", 200)]
    public async Task Docs_AreThere_InDevelopmentOrWhenTheSettingSaysSo(string environment, string? setting, int status)
    {
        await using var app = await AuthApp.StartAsync(
            new() { ["Api:Docs"] = setting, ["Forge:Backends:0:Url"] = "http://127.0.0.1:9" }, environment: environment);

        var response = await app.As(AuthApp.OperatorKey).GetAsync("docs/"); // A redirect from docs would lose the key.

        Assert.That((int)response.StatusCode, Is.EqualTo(status));
        if (status == 200)
            Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("openapi/v1.json").And.Not.Contain("https://"));
    }

    private static readonly HttpRequestOptionsKey<Func<Exception>> Fault = new("fault");

    private static StringContent Json(string body, string type = "application/json") => new(body, Encoding.UTF8, type);

    /// <summary>How each described status comes about.</summary>
    private Dictionary<string, Func<Task<HttpRequestMessage>>> Provocations()
    {
        const string Image = """{"username":"ayşe","prompt":"a cat"}""";
        const string Words = """{"username":"ayşe","role":"user","content":"merhaba","extra_metadata":{"status":5,"job_id":[1]}}""";
        var tooLarge = $$"""{"content":"{{new string('x', 70_000)}}"}""";
        var table = new Dictionary<string, Func<Task<HttpRequestMessage>>>();

        Later(
            "submitImage 202",
            async () =>
                Post(
                    "described/images",
                    Json("""{"username":"ayşe","prompt":"a cat","width":512,"seed":7,"cfg_scale":1.5,"negative_prompt":"a dog"}"""),
                    "wait=1"));
        Add("submitImage 400", () => Post("described/images", Json("""{"username":7}""")));
        Later(
            "submitImage 403",
            async () =>
                Post($"{(await _source.BeginAsync("ayşe's")).ConversationId}/images", Json("""{"username":"mehmet","prompt":"a cat"}""")));
        Add("submitImage 404", () => Post("described/images", Json(From("\"upload_id\":\"00000000000000000000000000000000\""))));
        Later("submitImage 409", async () =>
        {
            var waiting = await _source.BeginAsync("described");
            return Post("described/images", Json(From($"\"message_id\":{waiting.Id},\"upscale\":2")));
        });
        Later("submitImage 410", async () => Post($"{await ErasedAsync()}/images", Json(Image)));
        Add("submitImage 413", () => Post("described/images", Json(tooLarge)));
        Add("submitImage 415", () => Post("described/images", Json("a cat", "text/plain")));
        Add("submitImage 422", () => Post("described/images", Json("""{"username":"ayşe","prompt":"","width":63}""")));
        Later("submitImage 429", async () =>
        {
            for (var i = 0; i < 4; i++)
                await _app.Http.SendAsync(Post("busy/images", Json($$"""{"username":"{{Busy}}","prompt":"a cat"}""")));
            return Post("busy/images", Json($$"""{"username":"{{Busy}}","prompt":"a cat"}"""));
        });
        Add("submitImage 500", () => Post($"{FaultyStore.BrokenName}/images", Json(Image)));
        Add("submitImage 503", () => Post($"{FaultyStore.AwayName}/images", Json(Image)));

        Add("uploadImage 201", () => Post("described/uploads", Picture()));
        Add("uploadImage 400", () => Post("described/uploads", Bytes(TestImages.Make()[..60])));
        Later("uploadImage 410", async () => Post($"{await ErasedAsync()}/uploads", Picture()));
        Add("uploadImage 413", () => Post("described/uploads", Picture(new byte[UploadImage.MaxBytes])));
        Add("uploadImage 415", () => Post("described/uploads", Json("a cat", "text/plain")));
        Add("uploadImage 422", () => Post("a%20/uploads", Picture()));
        Add("uploadImage 500", () => Post($"{FaultyStore.BrokenName}/uploads", Picture()));
        Add("uploadImage 503", () => Post($"{FaultyStore.AwayName}/uploads", Picture()));

        var missing = $"api/conversations/described/uploads/{new string('0', 32)}";
        Later("getUpload 200", async () =>
        {
            var uploaded = await TestApp.ReadAsync(await _app.Http.SendAsync(Post("described/uploads", Picture())));
            return Get($"api/conversations/described/uploads/{uploaded["upload_id"]}");
        });
        Add("getUpload 404", () => Get(missing));
        Add("getUpload 422", () => Get(missing.Replace("described", "a%20", StringComparison.Ordinal)));
        Add("getUpload 500", () => With(FaultyStore.Broken, Get(missing)));
        Add("getUpload 503", () => With(FaultyStore.Away, Get(missing)));

        Later("addMessage 201", async () =>
        {
            await _app.Http.SendAsync(WithKey(Post("described/messages", Json(Words))));
            return WithKey(Post("described/messages", Json(Words)));
        });
        Add("addMessage 400", () => Post("described/messages", Json("[]")));
        Later(
            "addMessage 403",
            async () =>
                Post(
                    $"{(await _source.BeginAsync("ayşe's")).ConversationId}/messages",
                    Json(Words.Replace("ayşe", "mehmet", StringComparison.Ordinal))));
        Later("addMessage 410", async () => Post($"{await ErasedAsync()}/messages", Json(Words)));
        Add("addMessage 413", () => Post("described/messages", Json(tooLarge)));
        Add("addMessage 415", () => Post("described/messages", Json("a", "text/plain")));
        Add("addMessage 422", () => Post("described/messages", Json("""{"username":"ayşe","role":"robot","content":""}""")));
        Add("addMessage 500", () => Post($"{FaultyStore.BrokenName}/messages", Json(Words)));
        Add("addMessage 503", () => Post($"{FaultyStore.AwayName}/messages", Json(Words)));

        Later("listMessages 200", async () =>
        {
            var message = await _source.BeginAsync("listed");
            await _source.CompleteAsync(message);
            await _app.Http.SendAsync(Post("listed/messages", Json(Words)));
            return Get("api/conversations/listed/messages?before=9223372036854775807&limit=2");
        });
        Add("listMessages 400", () => Get("api/conversations/listed/messages?limit=0"));
        Add("listMessages 404", () => Get("api/conversations/missing/messages"));
        Add("listMessages 422", () => Get("api/conversations/a%20/messages"));
        Add("listMessages 500", () => Get($"api/conversations/{FaultyStore.BrokenName}/messages"));
        Add("listMessages 503", () => Get($"api/conversations/{FaultyStore.AwayName}/messages"));

        Later("listConversations 200", async () =>
        {
            await _source.BeginAsync("listed");
            return Get("api/conversations?username=ayşe&limit=1");
        });
        Add("listConversations 400", () => Get("api/conversations?username=ayşe&limit=x"));
        Add("listConversations 422", () => Get("api/conversations?username="));
        Add("listConversations 500", () => Get($"api/conversations?username={FaultyStore.BrokenName}"));
        Add("listConversations 503", () => Get($"api/conversations?username={FaultyStore.AwayName}"));

        Later("getMessage 200", async () => Get($"api/messages/{(await _source.CompleteAsync(await _source.BeginAsync())).Id}", "wait=1"));
        Later("getMessage 304", async () =>
        {
            var message = await _source.BeginAsync();
            var request = Get($"api/messages/{message.Id}");
            request.Headers.IfNoneMatch.Add(new EntityTagHeaderValue($"\"{message.Revision}\""));
            return request;
        });
        Add("getMessage 404", () => Get("api/messages/4242424"));
        Add("getMessage 500", () => Get($"api/messages/{FaultyStore.BrokenId}"));
        Add("getMessage 503", () => Get($"api/messages/{FaultyStore.AwayId}"));

        Later("patchMessage 200", async () => Patch((await _source.BeginAsync()).Id, """{"extra_metadata":{"mine":1}}"""));
        Add("patchMessage 400", () => Patch(1, "[]"));
        Add("patchMessage 404", () => Patch(4242424, "{}"));
        Add("patchMessage 413", () => Patch(1, tooLarge));
        Add("patchMessage 415", () => Patch(1, "{}", "text/plain"));
        Later("patchMessage 422", async () => Patch((await _source.BeginAsync()).Id, """{"extra_metadata":{"status":"complete"}}"""));
        Add("patchMessage 500", () => Patch(FaultyStore.BrokenId, "{}"));
        Add("patchMessage 503", () => Patch(FaultyStore.AwayId, "{}"));

        Later("deleteMessage 204", async () => Delete($"api/messages/{(await _source.BeginAsync()).Id}"));
        Add("deleteMessage 404", () => Delete("api/messages/4242424"));
        Add("deleteMessage 500", () => Delete($"api/messages/{FaultyStore.BrokenId}"));
        Add("deleteMessage 503", () => Delete($"api/messages/{FaultyStore.AwayId}"));
        Later(
            "renameConversation 200", async () => Rename((await _source.BeginAsync("renamed")).ConversationId, """{"title":"Kediler"}"""));
        Add("renameConversation 400", () => Rename("a", "[]"));
        Add("renameConversation 404", () => Rename("nobody", """{"title":"Kediler"}"""));
        Add("renameConversation 413", () => Rename("a", tooLarge));
        Add("renameConversation 415", () => Rename("a", "{}", "text/plain"));
        Add("renameConversation 422", () => Rename("a", """{"title":" "}"""));
        Add("renameConversation 500", () => Rename(FaultyStore.BrokenName, """{"title":"Kediler"}"""));
        Add("renameConversation 503", () => Rename(FaultyStore.AwayName, """{"title":"Kediler"}"""));

        Later("deleteConversation 204", async () => Delete($"api/conversations/{(await _source.BeginAsync("going")).ConversationId}"));
        Add("deleteConversation 404", () => Delete("api/conversations/missing"));
        Add("deleteConversation 422", () => Delete("api/conversations/a%20"));
        Add("deleteConversation 500", () => Delete($"api/conversations/{FaultyStore.BrokenName}"));
        Add("deleteConversation 503", () => Delete($"api/conversations/{FaultyStore.AwayName}"));

        Later("cancelMessage 200", async () => Act((await _source.BeginAsync()).Id, "cancel"));
        Add("cancelMessage 404", () => Act(4242424, "cancel"));
        Later("cancelMessage 409", async () => Act((await _source.CompleteAsync(await _source.BeginAsync())).Id, "cancel"));
        Add("cancelMessage 500", () => Act(FaultyStore.BrokenId, "cancel"));
        Add("cancelMessage 503", () => Act(FaultyStore.AwayId, "cancel"));

        Later("retryMessage 200", async () =>
        {
            var message = await _source.BeginAsync("retries");
            await Store.CancelAsync(message.Id, "c", default);
            return Act(message.Id, "retry");
        });
        Add("retryMessage 404", () => Act(4242424, "retry"));
        Later("retryMessage 409", async () => Act((await _source.BeginAsync()).Id, "retry"));
        Later("retryMessage 429", async () =>
        {
            var message = await _app.SubmitAsync("a cat", "full", "full");
            await Store.CancelAsync((long)message["id"]!, "c", default);
            for (var i = 0; i < 4; i++)
                await _app.Http.SendAsync(Post("full/images", Json("""{"username":"full","prompt":"a cat"}""")));
            return Act((long)message["id"]!, "retry");
        });
        Add("retryMessage 500", () => Act(FaultyStore.BrokenId, "retry"));
        Add("retryMessage 503", () => Act(FaultyStore.AwayId, "retry"));

        foreach (var (id, path, wrong) in new[]
        {
            ("watchConversation", "api/conversations/streams/events", "api/conversations/a%20/events"),
            ("watchAll", "api/events", "api/events?conversation_id=a%20"),
        })
        {
            Add($"{id} 200", () => Get(path));
            Add($"{id} 400", () => Get($"{path}?last_event_id=x"));
            Add($"{id} 422", () => Get(wrong));
            Add($"{id} 500", () => With(FaultyStore.Broken, Get(path)));
            Add($"{id} 503", () => With(FaultyStore.Away, Get(path)));
        }

        const string Owner = """{"username":"ayşe"}""";
        Add("createToken 201", () => Post("tokens/tokens", Json(Owner)));
        Add("createToken 400", () => Post("tokens/tokens", Json("[]")));
        Later(
            "createToken 403",
            async () => Post($"{(await _source.BeginAsync("ayşe's")).ConversationId}/tokens", Json("""{"username":"mehmet"}""")));
        Add("createToken 413", () => Post("tokens/tokens", Json(tooLarge)));
        Add("createToken 415", () => Post("tokens/tokens", Json("a", "text/plain")));
        Add("createToken 422", () => Post("tokens/tokens", Json("""{"username":""}""")));
        Add("createToken 500", () => Post($"{FaultyStore.BrokenName}/tokens", Json(Owner)));
        Add("createToken 503", () => Post($"{FaultyStore.AwayName}/tokens", Json(Owner)));

        // Another user's is not found.
        Later("watchConversation 404", async () => await AsWatcherAsync(Get("api/conversations/streams/events")));
        Later("getPreview 404", async () => await AsWatcherAsync(Get($"images/flux_{(await _source.BeginAsync()).JobId}.preview.jpg")));

        Add("listModels 200", () => Get("api/models"));
        Add("getQueue 200", () => Get("api/queue"));
        Add("getQueue 500", () => With(FaultyStore.Broken, Get("api/queue")));
        Add("getQueue 503", () => With(FaultyStore.Away, Get("api/queue")));
        Add("pauseQueue 200", () => new HttpRequestMessage(HttpMethod.Post, "api/queue/pause"));
        Add("pauseQueue 500", () => With(FaultyStore.Broken, new HttpRequestMessage(HttpMethod.Post, "api/queue/pause")));
        Add("pauseQueue 503", () => With(FaultyStore.Away, new HttpRequestMessage(HttpMethod.Post, "api/queue/pause")));
        Add("resumeQueue 200", () => new HttpRequestMessage(HttpMethod.Post, "api/queue/resume"));
        Add("resumeQueue 500", () => With(FaultyStore.Broken, new HttpRequestMessage(HttpMethod.Post, "api/queue/resume")));
        Add("resumeQueue 503", () => With(FaultyStore.Away, new HttpRequestMessage(HttpMethod.Post, "api/queue/resume")));
        Add("pauseBackend 200", () => new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/pause"));
        Add("pauseBackend 404", () => new HttpRequestMessage(HttpMethod.Post, "api/backends/missing/pause"));
        Add("pauseBackend 500", () => With(FaultyStore.Broken, new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/pause")));
        Add("pauseBackend 503", () => With(FaultyStore.Away, new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/pause")));
        Add("resumeBackend 200", () => new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/resume"));
        Add("resumeBackend 404", () => new HttpRequestMessage(HttpMethod.Post, "api/backends/missing/resume"));
        Add("resumeBackend 500", () => With(FaultyStore.Broken, new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/resume")));
        Add("resumeBackend 503", () => With(FaultyStore.Away, new HttpRequestMessage(HttpMethod.Post, "api/backends/simulator/resume")));

        Later("getImage 200", async () =>
        {
            var message = await _source.BeginAsync();
            Directory.CreateDirectory(_app.ImagesFolder);
            await File.WriteAllBytesAsync(Path.Combine(_app.ImagesFolder, $"flux_{message.JobId}.png"), Png);
            return Get($"images/flux_{message.JobId}.png");
        });
        Add("getImage 404", () => Get($"images/flux_{new string('0', 32)}.png"));
        Later("getThumbnail 200", async () =>
        {
            var message = await _source.BeginAsync();
            Directory.CreateDirectory(_app.ImagesFolder);
            await File.WriteAllBytesAsync(Path.Combine(_app.ImagesFolder, $"flux_{message.JobId}.thumb.webp"), Png);
            return Get($"images/flux_{message.JobId}.thumb.webp");
        });
        Add("getThumbnail 404", () => Get($"images/flux_{new string('0', 32)}.thumb.webp"));
        Later("getPreview 200", async () =>
        {
            var message = await _source.BeginAsync();
            Directory.CreateDirectory(_app.ImagesFolder);
            await File.WriteAllBytesAsync(Path.Combine(_app.ImagesFolder, $"flux_{message.JobId}.preview.jpg"), Png);
            return Get($"images/flux_{message.JobId}.preview.jpg");
        });
        Add("getPreview 204", () => Get($"images/flux_{new string('0', 32)}.preview.jpg"));
        return table;

        static string From(string source) => "{\"username\":\"ayşe\",\"prompt\":\"a cat\",\"source\":{" + source + "}}";

        static ByteArrayContent Picture(byte[]? more = null) => Bytes([.. TestImages.Make(), .. more ?? []]);

        static ByteArrayContent Bytes(byte[] bytes) => new(bytes) { Headers = { ContentType = new("image/png") } };

        void Later(string name, Func<Task<HttpRequestMessage>> provoke) => table[name] = provoke;

        void Add(string name, Func<HttpRequestMessage> provoke) => table[name] = () => Task.FromResult(provoke());
    }

    private async Task<HttpRequestMessage> AsWatcherAsync(HttpRequestMessage request)
    {
        var token = await TestApp.ReadAsync(await _app.Http.SendAsync(Post("watched/tokens", Json("""{"username":"ayşe"}"""))));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", (string?)token["token"]);
        return request;
    }

    private static HttpRequestMessage With(Func<Exception> fault, HttpRequestMessage request)
    {
        request.Options.Set(Fault, fault);
        return request;
    }

    private static HttpRequestMessage WithKey(HttpRequestMessage request)
    {
        request.Headers.Add("Idempotency-Key", "described");
        return request;
    }

    private static HttpRequestMessage Post(string path, HttpContent content, string? prefer = null) =>
        Preferring(new HttpRequestMessage(HttpMethod.Post, $"api/conversations/{path}") { Content = content }, prefer);

    private static HttpRequestMessage Get(string path, string? prefer = null) =>
        Preferring(new HttpRequestMessage(HttpMethod.Get, path), prefer);

    private static HttpRequestMessage Preferring(HttpRequestMessage request, string? prefer)
    {
        if (prefer is not null)
            request.Headers.Add("Prefer", prefer);
        return request;
    }

    private static HttpRequestMessage Patch(long id, string body, string type = "application/merge-patch+json") =>
        new(HttpMethod.Patch, string.Create(CultureInfo.InvariantCulture, $"api/messages/{id}")) { Content = Json(body, type) };

    private static HttpRequestMessage Rename(string id, string body, string type = "application/merge-patch+json") =>
        new(HttpMethod.Patch, string.Create(CultureInfo.InvariantCulture, $"api/conversations/{id}")) { Content = Json(body, type) };

    private async Task<string> ErasedAsync()
    {
        var conversation = $"erased-{Guid.NewGuid():N}";
        await _source.BeginAsync(conversation);
        await Store.CloseConversationAsync(conversation, default);
        return conversation;
    }

    private static HttpRequestMessage Delete(string path) => new(HttpMethod.Delete, path);

    private static HttpRequestMessage Act(long id, string call) =>
        new(HttpMethod.Post, string.Create(CultureInfo.InvariantCulture, $"api/messages/{id}/{call}"));

    /// <summary>The request is one of that operation's.</summary>
    private static void AssertIs(HttpRequestMessage request, string method, string path)
    {
        var pattern = "^/" + System.Text.RegularExpressions.Regex.Replace(path[1..], @"\{\w+\}", "[^/]+").Replace(
            ".", "\\.", StringComparison.Ordinal) + "$";
        Assert.That(request.Method.Method, Is.EqualTo(method).IgnoreCase, path);
        Assert.That("/" + request.RequestUri!.OriginalString.Split('?')[0], Does.Match(pattern));
    }

    private async Task AssertAsDescribedAsync(string name, string status, JsonObject described, HttpResponseMessage response)
    {
        var type = response.Content.Headers.ContentType?.MediaType;
        var isStream = type == "text/event-stream";
        var text = isStream ? "" : await response.Content.ReadAsStringAsync();
        Assert.That(((int)response.StatusCode).ToString(CultureInfo.InvariantCulture), Is.EqualTo(status), $"{name}: {text}");

        var headers = described["headers"] as JsonObject ?? [];
        foreach (var (header, description) in headers)
        {
            var isThere = response.Headers.TryGetValues(header, out var values);
            if ((bool?)_description.Resolve(description!)["required"] == true)
                Assert.That(isThere, Is.True, $"{name}: {header} is missing");
            if (!isThere)
                continue;
            var schema = _description.Resolve(description!)["schema"]!;
            var value = values!.Single();
            Assert.That(
                _description.Difference(schema, (string?)schema["type"] == "integer" ? JsonNode.Parse(value) : JsonValue.Create(value)),
                Is.Null,
                $"{name}: {header}: {value}");
        }

        Assert.That(
            DescribedHeaders.Where(header => response.Headers.Contains(header)).Except(headers.Select(header => header.Key)),
            Is.Empty,
            $"{name}: headers that are not described");

        if (described["content"] is not JsonObject content)
        {
            Assert.That(text, Is.Empty, name);
            return;
        }

        Assert.That(content.Select(one => one.Key), Does.Contain(type), name);
        var body = content[type!]!["schema"]!;
        if ((string?)_description.Resolve(body)["type"] == "string")
            return; // An image, or a stream, whose events have a test of their own.
        var json = JsonNode.Parse(text);
        Assert.That(_description.Difference(body, json), Is.Null, $"{name}: {text}");
        if (described["x-codes"] is JsonArray codes)
            Assert.That(codes.Select(code => (string?)code), Does.Contain((string?)json!["code"]), name);
        if (status is "500")
            Assert.That(text, Does.Not.Contain("a mistake of ours"));
    }

    private static bool IsProvokedElsewhere(JsonNode response) =>
        response["x-codes"] is JsonArray codes && codes.All(code => ProvokedElsewhere.Contains((string)code!));

    private static IEnumerable<JsonNode> Nodes(JsonNode node) => (node switch
    {
        JsonObject one => one.Select(member => member.Value),
        JsonArray many => many,
        _ => Enumerable.Empty<JsonNode?>(),
    }).OfType<JsonNode>().SelectMany(Nodes).Prepend(node);

    private static IEnumerable<string> Texts(JsonNode node) =>
        Nodes(node).OfType<JsonValue>().Select(value => value.TryGetValue<string>(out var text) ? text : "");
}
