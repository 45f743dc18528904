using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Compatibility;

/// <summary>OpenAI's images API over HTTP: what chat apps send, and what they read.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class OpenAiTests
{
    [Test]
    public async Task Generate_AnswersAsOpenWebUiReads()
    {
        await using var app = await TestApp.StartAsync();

        // Open WebUI: routers/images.py, image_generations, engine "openai".
        var response = await app.Http.PostAsJsonAsync(
            "v1/images/generations", new { model = "dall-e-2", prompt = "a cat", n = 1, size = "256x256", response_format = "b64_json" });

        var image = (await TestApp.ReadAsync(response))["data"]![0]!;
        Assert.That(Convert.FromBase64String((string)image["b64_json"]!)[1..4], Is.EqualTo("PNG"u8.ToArray()));
        Assert.That((string?)image["revised_prompt"], Is.EqualTo("a cat"));
    }

    [Test]
    public async Task Generate_AnswersAsLibreChatReads()
    {
        await using var app = await TestApp.StartAsync();

        // LibreChat: api/app/clients/tools/structured/DALLE3.js reads data[0].url and downloads it without a header.
        var response = await app.Http.PostAsJsonAsync(
            "v1/images/generations",
            new { model = "dall-e-3", quality = "standard", style = "vivid", size = "1024x1024", prompt = "a cat", n = 1 });

        var url = (string)(await TestApp.ReadAsync(response))["data"]![0]!["url"]!;
        using var bare = new HttpClient();
        Assert.That((await bare.GetAsync(new Uri(url))).Content.Headers.ContentType?.MediaType, Is.EqualTo("image/png"));
    }

    [TestCase("jpeg", 0xFF)]
    [TestCase("webp", (int)'R')]
    public async Task Generate_Converts_WhenAnotherFormatIsAsked(string format, int first)
    {
        await using var app = await TestApp.StartAsync();

        var response = await app.Http.PostAsJsonAsync(
            "v1/images/generations",
            new { model = "gpt-image-1", prompt = "a cat", size = "64x64", output_format = format, output_compression = 50 });

        Assert.That(Convert.FromBase64String((string)(await TestApp.ReadAsync(response))["data"]![0]!["b64_json"]!)[0], Is.EqualTo(first));
    }

    [TestCase("""{"prompt":"x","n":11}""", "n")]
    [TestCase("""{"prompt":"x","size":"large"}""", "size")]
    [TestCase("""{"prompt":"x","output_format":"gif"}""", "output_format")]
    [TestCase("""{"prompt":"x","response_format":"file"}""", "response_format")]
    [TestCase("""{"prompt":""}""", "prompt")]
    public async Task Generate_NamesTheField_WhenItIsWrong(string body, string param)
    {
        await using var app = await TestApp.StartAsync();

        var response = await app.Http.PostAsync(
            new Uri("v1/images/generations", UriKind.Relative), new StringContent(body, Encoding.UTF8, "application/json"));

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        var error = (await TestApp.ReadAsync(response))["error"]!;
        Assert.That(((string?)error["param"], (string?)error["type"]), Is.EqualTo((param, "invalid_request_error")));
    }

    [Test]
    public async Task Generate_RefusesUnknownModels_WhenSet()
    {
        await using var app = await TestApp.StartAsync(new() { ["Compatibility:OpenAi:UnknownModels"] = "Refuse" });

        var response = await app.Http.PostAsJsonAsync("v1/images/generations", new { model = "dall-e-3", prompt = "a cat" });

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That((string?)(await TestApp.ReadAsync(response))["error"]!["code"], Is.EqualTo("model_not_found"));
    }

    [Test]
    public async Task Generate_SaysRateLimitExceeded_AndKeepsNothing_WhenTheUserHasTooMany()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Queue:MaxPendingPerUser"] = "1", ["Forge:Simulator:SecondsPerImage"] = "30" });
        await app.WaitForAsync((long)(await app.SubmitAsync("first", username: "local"))["id"]!, "processing");

        var response = await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a cat", n = 3 });

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(response.Headers.RetryAfter, Is.Not.Null);
        Assert.That((string?)(await TestApp.ReadAsync(response))["error"]!["code"], Is.EqualTo("rate_limit_exceeded"));
        Assert.That(await StatusesAsync(app), Is.Empty);
    }

    [Test]
    public async Task Generate_CancelsItsRequests_WhenTheClientHangsUp()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "30" });
        using var hangUp = new CancellationTokenSource();
        var call = app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a cat", n = 2 }, hangUp.Token);
        await Until.TrueAsync(async () => (await StatusesAsync(app)).Length == 2, "both are submitted");

        await hangUp.CancelAsync();

        Assert.That(async () => await call, Throws.InstanceOf<OperationCanceledException>());
        await Until.TrueAsync(async () => (await StatusesAsync(app)).All(status => status == "cancelled"), "both are cancelled");
    }

    [Test]
    public async Task Generate_FindsItsRequests_WhenTheClientRepeatsTheCallAfterARestart()
    {
        using var folder = new TemporaryFolder();
        using var http = new HttpClient(); // The app's own ends before the app does.
        Task<HttpResponseMessage> call;
        await using (var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "30" }, folder))
        {
            call = SendAsync(app, "k1", http);
            await Until.TrueAsync(async () => await StatusesAsync(app) is ["processing"], "it is generated");
        }

        Assert.That((await call).StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        await using var next = await TestApp.StartAsync(folder: folder);
        await Until.TrueAsync(async () => await StatusesAsync(next) is ["complete"], "it is generated after the restart");
        Assert.That((await SendAsync(next, "k1")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(await StatusesAsync(next), Is.EqualTo(new[] { "complete" }));
    }

    /// <summary>A client that loses its connection comes back with its key while its first call is being cancelled.</summary>
    [Test]
    public async Task Generate_RunsAgain_WhenTheClientComesBackDuringTheCancel()
    {
        TestApp? started = null;
        Task<HttpResponseMessage>? again = null;
        var (submits, isRetried) = (0, false);
        await using var app = started = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "600" },
            configure: builder => FaultyStore.PutAround(builder.Services, method =>
            {
                if (method == nameof(IRequestStore.SubmitAsync))
                    Interlocked.Increment(ref submits);
                isRetried |= method == nameof(IRequestStore.RetryAsync);
                if (method == nameof(IRequestStore.CancelAsync) && again is null)
                {
                    again = Task.Run(() => SendAsync(started!, "k1")); // The first call has been sent through it.
                    if (SpinWait.SpinUntil(() => Volatile.Read(ref submits) == 2, TimeSpan.FromSeconds(1)))
                        Thread.Sleep(300); // The second call joins.
                }

                return null;
            }));
        using var hangUp = new CancellationTokenSource();
        var call = SendAsync(app, "k1", cancellationToken: hangUp.Token);
        await Until.TrueAsync(async () => await StatusesAsync(app) is ["processing"], "it is generated");

        await hangUp.CancelAsync();

        Assert.That(async () => await call, Throws.InstanceOf<OperationCanceledException>());
        await Until.TrueAsync(() => isRetried, "the second call finds its request cancelled, and retries it");
        await Until.TrueAsync(async () => await StatusesAsync(app) is ["processing"], "it is generated again");
        Assert.That(again!.IsCompleted, Is.False);
    }

    [Test]
    public async Task Stream_HasAnErrorInAnImagesPlace_AndGoesOnWithTheOthers()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:MaxAttempts"] = "1" });

        var response = await app.Http.PostAsJsonAsync(
            "v1/images/generations", new { prompt = "[fault:oom*1] a cat", size = "64x64", n = 2, stream = true });

        var events = await response.Content.ReadAsStringAsync();
        Assert.That(events, Does.Contain("event: error").And.Contain("out_of_memory").And.Contain("event: image_generation.completed"));
        Assert.That(await StatusesAsync(app), Is.EquivalentTo(new[] { "error", "complete" }));
    }

    [TestCase(1)]
    [TestCase(5)]
    public async Task Generate_JoinsTheFirstCall_WhenTheIdempotencyKeyIsTheSame(int images)
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "1" });

        var answers = await Task.WhenAll(Enumerable.Range(0, 2).Select(async _ =>
        {
            using var request =
                new HttpRequestMessage(HttpMethod.Post, "v1/images/generations")
                {
                    Content = JsonContent.Create(new { prompt = "a cat", size = "64x64", n = images }),
                };
            request.Headers.Add("Idempotency-Key", "k1");
            var data = (await TestApp.ReadAsync(await app.Http.SendAsync(request)))["data"]!.AsArray();
            return data.Select(one => (string?)one!["b64_json"]).ToArray();
        }));

        Assert.That(answers[0], Is.EqualTo(answers[1]).And.Length.EqualTo(images).And.None.Null.And.Unique);
        Assert.That(await StatusesAsync(app), Is.EqualTo(Enumerable.Repeat("complete", images)));
    }

    [Test]
    public async Task Generate_GoesOn_AfterItsConversationWasErased()
    {
        await using var app = await TestApp.StartAsync();
        Assert.That((await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a cat" })).IsSuccessStatusCode);
        Assert.That(
            (await app.Http.DeleteAsync(new Uri("api/conversations/openai-local", UriKind.Relative))).StatusCode,
            Is.EqualTo(HttpStatusCode.NoContent));

        Assert.That((await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a dog" })).IsSuccessStatusCode);

        Assert.That(await app.Http.GetStringAsync("api/conversations/openai-local~2/messages"), Does.Contain("a dog"));
    }

    /// <summary>Seen before: 403 for good, since the second conversation of local is the first one of local~2.</summary>
    [Test]
    public async Task Generate_GoesOn_WhenAnotherUsersConversationHasTheNextId()
    {
        await using var app = await TestApp.StartAsync();
        foreach (var user in (string[])["local~2", "local"])
            Assert.That((await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a cat", user })).IsSuccessStatusCode);
        (await app.Http.DeleteAsync(new Uri("api/conversations/openai-local", UriKind.Relative))).Dispose();

        (await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "a dog", user = "local" })).Dispose();

        Assert.That(await app.Http.GetStringAsync("api/conversations/openai-local~3/messages"), Does.Contain("a dog"));
    }

    [TestCase("2.0")]
    [TestCase("\"2\"")]
    public async Task Generate_TakesWholeNumbers_HoweverTheyAreWritten(string count)
    {
        await using var app = await TestApp.StartAsync();

        var body = new StringContent($$"""{"prompt":"x","size":"64x64","n":{{count}}}""", Encoding.UTF8, "application/json");
        var answer = await TestApp.ReadAsync(await app.Http.PostAsync(new Uri("v1/images/generations", UriKind.Relative), body));

        Assert.That(answer["data"]!.AsArray(), Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Generate_KeepsTheProxyAwake_WhenSet()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Compatibility:KeepAliveAfter"] = "00:00:00.1", ["Forge:Simulator:SecondsPerImage"] = "2" });

        var text = await (
            await app.Http.PostAsJsonAsync("v1/images/generations", new { prompt = "[fault:oom] a cat" })).Content.ReadAsStringAsync();

        Assert.That(text, Does.StartWith(" "));
        Assert.That((string?)JsonNode.Parse(text)!["error"]!["code"], Is.EqualTo("out_of_memory"), "an error is in the body alone");
    }

    [Test]
    public async Task SignedAddress_OpensItsImageAlone()
    {
        await using var app = await AuthApp.StartAsync();
        var client = app.As(AuthApp.ClientKey);
        var answer = await TestApp.ReadAsync(
            await client.PostAsJsonAsync("v1/images/generations", new { prompt = "a cat", n = 2, response_format = "url" }));
        var urls = answer["data"]!.AsArray().Select(one => new Uri((string)one!["url"]!)).ToArray();
        var other = new Uri(urls[1].GetLeftPart(UriPartial.Path) + urls[0].Query);
        var conversation = $"api/conversations/openai-the client/messages{urls[0].Query}";
        var anonymous = app.As(null);

        Assert.That((await anonymous.GetAsync(urls[0])).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await anonymous.GetAsync(other)).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(
            (await anonymous.GetAsync(new Uri(conversation, UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.Unauthorized));
    }

    [Test]
    public async Task Errors_HaveOpenAisShape_WhereverTheyComeFrom()
    {
        await using var app = await AuthApp.StartAsync();

        var unauthorized = await app.As(null).PostAsJsonAsync("v1/images/generations", new { prompt = "a cat" });
        var missing = await app.As(AuthApp.ClientKey).GetAsync(new Uri("v1/audio/speech", UriKind.Relative));

        Assert.That(unauthorized.StatusCode, Is.EqualTo(HttpStatusCode.Unauthorized));
        Assert.That((string?)(await TestApp.ReadAsync(unauthorized))["error"]!["code"], Is.EqualTo("invalid_api_key"));
        Assert.That(missing.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That((string?)(await TestApp.ReadAsync(missing))["error"]!["type"], Is.EqualTo("invalid_request_error"));
    }

    [Test]
    public async Task Basic_TakesTheKeyAsPassword_AndTheUserAsOwner()
    {
        await using var app = await AuthApp.StartAsync();
        using var request =
            new HttpRequestMessage(HttpMethod.Post, "v1/images/generations") { Content = JsonContent.Create(new { prompt = "a cat" }) };
        request.Headers.Authorization = new AuthenticationHeaderValue(
            "Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"ayşe:{AuthApp.ClientKey}")));

        Assert.That((await app.As(null).SendAsync(request)).StatusCode, Is.EqualTo(HttpStatusCode.OK));

        Assert.That(await app.As(AuthApp.ClientKey).GetStringAsync("api/conversations?username=ayşe"), Does.Contain("openai-ayşe"));
    }

    [Test]
    public async Task Apis_AreGone_WhenDisabled()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Compatibility:OpenAi:Enabled"] = "false", ["Compatibility:A1111:Enabled"] = "false" });

        Assert.That((await app.Http.GetAsync(new Uri("v1/models", UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(
            (await app.Http.GetAsync(new Uri("sdapi/v1/options", UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
    }

    private static async Task<HttpResponseMessage> SendAsync(
        TestApp app, string key, HttpClient? http = null, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(app.Address, "v1/images/generations"))
        {
            Content = JsonContent.Create(new { prompt = "a cat", size = "64x64" }),
            Headers = { { "Idempotency-Key", key } },
        };
        return await (http ?? app.Http).SendAsync(request, cancellationToken);
    }

    private static async Task<string?[]> StatusesAsync(TestApp app)
    {
        var response = await app.Http.GetAsync(new Uri("api/conversations/openai-local/messages", UriKind.Relative));
        return response.IsSuccessStatusCode
            ? [.. (await TestApp.ReadAsync(response))["messages"]!.AsArray().Select(one => (string?)one!["extra_metadata"]!["status"])]
            : [];
    }
}
