using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>What chat apps, browsers and proxies really send.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class CallerTests
{
    private const string Path = "api/conversations/callers/images";

    private TestApp _app = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await TestApp.StartAsync(new() { ["Auth:AllowedOrigins:0"] = "https://chat.example" });

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [Test]
    public async Task Body_IsRefusedAsNotUtf8_WhenItIsLatin1()
    {
        using var response = await PostAsync(Encoding.Latin1.GetBytes("""{"username":"u","prompt":"çay"}"""), "application/json");

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((string?)(await TestApp.ReadAsync(response))["detail"], Does.Contain("not UTF-8"));
    }

    [TestCase("""{"username":"u","prompt":"kedi \ud83d"}""", "prompt")]
    [TestCase("""{"username":"u","prompt":"kedi","extra_metadata":{"a":["\ude00"]}}""", "extra_metadata")]
    [TestCase("""{"username":"u","prompt":"kedi","extra_metadata":{"\ud83d":1}}""", "extra_metadata")]
    public async Task Body_IsRefusedWithTheField_WhenACharacterIsCut(string body, string field)
    {
        using var response = await PostAsync(Encoding.UTF8.GetBytes(body), "application/json");

        var problem = await TestApp.ReadAsync(response);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest), problem.ToJsonString());
        Assert.That((string?)problem["detail"], Does.Contain("half a character"));
        Assert.That(problem["errors"]!.AsObject().Select(error => error.Key), Is.EqualTo(new[] { field }));
    }

    [TestCase("application/json; charset=UTF8")]
    [TestCase("application/json; charset=utf8")]
    [TestCase("application/json; charset=\"utf8\"")]
    [TestCase("application/json; charset=UTF-8")]
    public async Task Body_IsTaken_WhenTheCharsetIs(string type)
    {
        using var response = await PostAsync(
            Encoding.UTF8.GetBytes("""{"username":"u","prompt":"bir gül","width":64,"height":64,"steps":1}"""), type);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Accepted), await response.Content.ReadAsStringAsync());
    }

    [TestCase("512.0", 202)]
    [TestCase("5.12e2", 202)]
    [TestCase("512.5", 400)]
    [TestCase("1e400", 400)]
    public async Task WholeNumber_IsTaken_WhenItIsOne(string width, int status)
    {
        using var response = await PostAsync(
            Encoding.UTF8.GetBytes(
                $$"""{"username":"u","prompt":"bir gül","width":{{width}},"height":64,"steps":1.0,"seed":7.0}"""), "application/json");

        var answer = await TestApp.ReadAsync(response);
        Assert.That((int)response.StatusCode, Is.EqualTo(status), answer.ToJsonString());
        if (status == 202)
            Assert.That((int)answer["extra_metadata"]!["settings"]!["width"]!, Is.EqualTo(512));
    }

    [Test]
    public async Task Preflight_AllowsWhatEventSourcesAndClientsSend()
    {
        string[] headers = ["authorization", "cache-control", "last-event-id", "prefer", "idempotency-key"];
        using var request = new HttpRequestMessage(HttpMethod.Options, "api/conversations/c/events");
        request.Headers.Add("Origin", "https://chat.example");
        request.Headers.Add("Access-Control-Request-Method", "GET");
        request.Headers.Add("Access-Control-Request-Headers", string.Join(',', headers));

        using var response = await _app.Http.SendAsync(request);

        var allowed = string.Join(
            ',', response.Headers.GetValues("Access-Control-Allow-Headers")).ToLowerInvariant().Split(',', StringSplitOptions.TrimEntries);
        Assert.That(headers, Is.SubsetOf(allowed));
    }

    [Test]
    public async Task Submit_KeepsTheChatAppsKeys_AndPushesThem()
    {
        using var events = await SseReader.OpenAsync(_app.Http, "api/conversations/own/events");
        var message = await _app.SubmitAsync(
            "bir gül", "own", more: new { width = 64, height = 64, steps = 1, extra_metadata = new { thread = new { id = 7 } } });

        var last = (await events.ReadUntilAsync(progress => (string?)progress["status"] == "complete"))[^1];
        var stored = await _app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);

        Assert.That((int)stored["extra_metadata"]!["thread"]!["id"]!, Is.EqualTo(7));
        Assert.Multiple(() =>
        {
            Assert.That(last["metadata"]!.ToJsonString(), Is.EqualTo("""{"thread":{"id":7}}"""));
            Assert.That((int)last["settings"]!["width"]!, Is.EqualTo(64));
            Assert.That((int)last["result"]!["width"]!, Is.EqualTo(64));
        });
    }

    [TestCase("""{"status":"complete"}""")]
    [TestCase("[]")]
    [TestCase("7")]
    public async Task Submit_IsRefused_WhenTheKeysAreNotTheChatApps(string metadata)
    {
        using var response = await PostAsync(
            Encoding.UTF8.GetBytes($$"""{"username":"u","prompt":"bir gül","extra_metadata":{{metadata}}}"""), "application/json");

        var problem = await TestApp.ReadAsync(response);
        Assert.That((int)response.StatusCode, Is.EqualTo(422), problem.ToJsonString());
        Assert.That(problem["errors"]!.AsObject().Select(error => error.Key), Is.EqualTo(new[] { "extra_metadata" }));
    }

    [Test]
    public async Task Post_Is410_WhenTheConversationWasErased()
    {
        var message = await _app.SubmitAsync("bir gül", "erased");
        await _app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);
        using (var erased = await _app.Http.DeleteAsync("api/conversations/erased"))
            Assert.That(erased.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));

        foreach (var (path, body) in new (string, object)[]
        {
            ("images", new { username = "ayşe", prompt = "bir kedi" }),
            ("messages", new { username = "ayşe", role = "user", content = "merhaba" }),
        })
        {
            using var response = await _app.Http.PostAsJsonAsync($"api/conversations/erased/{path}", body);
            Assert.That((int)response.StatusCode, Is.EqualTo(410));
            Assert.That((string?)(await TestApp.ReadAsync(response))["code"], Is.EqualTo("conversation_erased"));
        }
    }

    /// <summary>ş as one character and as s with a cedilla: one person, one conversation.</summary>
    [Test]
    public async Task Names_AreComparedInNfc()
    {
        const string Composed = "ay\u015Fe", Decomposed = "ays\u0327e";
        await _app.SubmitAsync("bir gül", Uri.EscapeDataString(Composed), Composed);
        await _app.SubmitAsync("bir kedi", Uri.EscapeDataString(Decomposed), Decomposed);

        var page = await TestApp.ReadAsync(await _app.Http.GetAsync($"api/conversations/{Uri.EscapeDataString(Decomposed)}/messages"));
        Assert.That((page["messages"]!.AsArray().Count, (string?)page["username"]), Is.EqualTo((2, Composed)));
        var list = await TestApp.ReadAsync(await _app.Http.GetAsync($"api/conversations?username={Uri.EscapeDataString(Decomposed)}"));
        Assert.That(list["conversations"]!.AsArray(), Has.Count.EqualTo(1));
    }

    private async Task<HttpResponseMessage> PostAsync(byte[] body, string type)
    {
        using var content = new ByteArrayContent(body);
        content.Headers.TryAddWithoutValidation("Content-Type", type);
        return await _app.Http.PostAsync(Path, content);
    }
}

/// <summary>The app behind a proxy that serves it under a path.</summary>
[TestFixture(true)]
[TestFixture(false)]
[Category(Categories.App)]
internal sealed class PathBaseTests(bool proxyStripsIt)
{
    private const string Base = "/apps/images";

    private TestApp _app = null!;
    private HttpClient _http = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync(
            new()
            {
                ["Hosting:PathBase"] = proxyStripsIt ? "" : Base,
                ["Auth:Proxies:0"] = "127.0.0.1",
                ["Auth:ApiKeys:0:Name"] = "chat",
                ["Auth:ApiKeys:0:Role"] = "client",
                ["Auth:ApiKeys:0:Key"] = new string('k', 40),
            });
        _http =
            new HttpClient(new HttpClientHandler { AllowAutoRedirect = false })
            {
                BaseAddress = new Uri(_app.Address, proxyStripsIt ? "/" : Base + "/"),
            };
        if (proxyStripsIt)
            _http.DefaultRequestHeaders.Add("X-Forwarded-Prefix", Base);
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", new string('k', 40));
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        _http?.Dispose();
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [Test]
    public async Task Links_BeginWithThePathBase()
    {
        using var response = await _http.PostAsJsonAsync(
            "api/conversations/a%252Fb/images", new { username = "ayşe", prompt = "bir gül", width = 64, height = 64, steps = 1 });
        var message = await TestApp.ReadAsync(response);
        Assert.That(response.Headers.Location?.OriginalString, Is.EqualTo($"{Base}/api/messages/{message["id"]}"));
        Assert.That((string?)message["conversation_id"], Is.EqualTo("a%2Fb"));

        JsonObject done = message;
        await Until.TrueAsync(
            async () =>
                (string?)(done =
                    await TestApp.ReadAsync(await _http.GetAsync($"api/messages/{message["id"]}")))["extra_metadata"]!["status"]
                        == "complete");
        var image = (string)done["extra_metadata"]!["image_url"]!;
        Assert.That(image, Does.StartWith($"{Base}/images/flux_"));
        using var file = await _http.GetAsync(proxyStripsIt ? image[Base.Length..].TrimStart('/') : image);
        Assert.That(file.StatusCode, Is.EqualTo(HttpStatusCode.OK));

        using var page = new HttpRequestMessage(HttpMethod.Get, "hangfire") { Headers = { { "Accept", "text/html" } } };
        using var anonymous = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = _http.BaseAddress };
        if (proxyStripsIt)
            anonymous.DefaultRequestHeaders.Add("X-Forwarded-Prefix", Base);
        using var login = await anonymous.SendAsync(page);
        Assert.That(login.Headers.Location?.OriginalString, Does.StartWith($"{Base}/login"));
    }

    [Test]
    public async Task Pushes_AndDescription_BeginWithThePathBase()
    {
        using var events = await SseReader.OpenAsync(_http, "api/conversations/pushed/events");
        using var response = await _http.PostAsJsonAsync(
            "api/conversations/pushed/images", new { username = "ayşe", prompt = "bir gül", width = 64, height = 64, steps = 1 });

        var last = (await events.ReadUntilAsync(progress => (string?)progress["status"] == "complete"))[^1];
        var description = await TestApp.ReadAsync(await _http.GetAsync("openapi/v1.json"));

        var described = description["components"]!["schemas"]!["ImageMetadata"]!["properties"]!["image_url"]!;
        Assert.That((string?)last["image_url"], Does.StartWith($"{Base}/images/flux_").And.Match((string)described["pattern"]!));
        Assert.That((string?)description["servers"]![0]!["url"], Is.EqualTo(Base));
    }
}
