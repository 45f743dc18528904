using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Tests.Webhooks;
using ImageQueue.Web.Startup;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// Replays the inputs of the folder <c>Cases</c>: what Forge, proxies, callers and operators really sent, and once went wrong.
/// </summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed partial class CaseTests
{
    private const string Folder = "Cases/";

    /// <summary>Each file of the folder but those that another one names.</summary>
    private static IEnumerable<string> Files => typeof(CaseTests).Assembly.GetManifestResourceNames()
        .Where(name => name.StartsWith(Folder, StringComparison.Ordinal) && !name.EndsWith("-body.json", StringComparison.Ordinal))
        .Select(name => name[Folder.Length..])
        .Where(name => !name.Contains('/', StringComparison.Ordinal)); // forge/ is ForgeContractTests'.

    [TestCaseSource(nameof(Files))]
    public Task Case_EndsAsItShould(string file) => file switch
    {
        "01-subfolder-checkpoint.json" => SubfolderAsync(Read(file)),
        "02-gateway-gives-up.json" or "03-poison-gpu-error.json" or "03b-prompt-blocked-by-waf.json" or "04-request-kills-server.json" =>
            PoisonAsync(Read(file)),
        "06-silhouette.png" => ImageAsync(Bytes(file)),
        "07-png-text-chunk.json" => TextChunksAsync(Read(file)),
        "08-bodies.json" => BodiesAsync(Read(file)),
        "09-events.json" => EventsAsync(Read(file)),
        "10-start-settings.json" => StartsAsync(Read(file)),
        "11-webhook-answers.json" => WebhooksAsync(Read(file)),
        "memory-words.json" => WordsAsync(Read(file)),
        _ => throw new AssertionException($"{file} is replayed by no test; add how."),
    };

    /// <summary>The checkpoint's names differ between the list, the request and the answer.</summary>
    private static async Task SubfolderAsync(JsonNode input)
    {
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        var sent = 0;
        server.Proxy = async (context, prompt, answer) =>
        {
            if (prompt is not null && prompt != Canary.Prompt)
                sent++;
            if (prompt is not null)
                await AnswerAsync(context, Png(64, 64), input["info"]!);
            else if (context.Request.Path.Value!.EndsWith("/sd-models", StringComparison.Ordinal))
                await context.Response.WriteAsync(input["models"]!.ToJsonString());
            else
                await answer();
        };
        var settings = SimulatorServer.Settings(server);
        settings["Forge:Models:x:Checkpoint"] = (string?)input["checkpoint"];
        await using var app = await TestApp.StartAsync(settings);

        await CompleteAsync(app, new { model = "x", width = 64, height = 64 });

        Assert.That(sent, Is.EqualTo((int)input["sent"]!));
    }

    /// <summary>A picture that the app must take.</summary>
    private static async Task ImageAsync(byte[] image)
    {
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        server.Proxy = (context, prompt, answer) => prompt is null ? answer() : AnswerAsync(context, image, new JsonObject());
        await using var app = await TestApp.StartAsync(SimulatorServer.Settings(server));
        using var picture = SKBitmap.Decode(image);

        await CompleteAsync(app, new { width = picture.Width, height = picture.Height });
    }

    /// <summary>The stored image has no text, however much came; the quadratic cost once made the largest take 18 s.</summary>
    private static async Task TextChunksAsync(JsonNode input)
    {
        var (picture, sent) = (Png(256, 256), Array.Empty<byte>());
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        server.Proxy = (context, prompt, answer) => prompt is null ? answer() : AnswerAsync(context, sent, new JsonObject());
        await using var app = await TestApp.StartAsync(SimulatorServer.Settings(server));
        foreach (var kilobytes in input["kilobytes"]!.AsArray())
        {
            sent = PngChunks.WithText(picture, (string)input["keyword"]!, new string('x', 1000 * (int)kilobytes!)).ToArray();

            var message = await CompleteAsync(app, new { width = 256, height = 256 });

            var stored = await app.Http.GetByteArrayAsync(((string)message["extra_metadata"]!["image_url"]!)[1..]);
            Assert.That((sent.Length, stored), Is.EqualTo((sent.Length, picture)), "the picture alone");
        }
    }

    private static async Task BodiesAsync(JsonNode input)
    {
        await using var app = await TestApp.StartAsync();
        foreach (var one in input.AsArray())
        {
            var body = (string?)one!["file"] is { } file ? Bytes(file) : Encoding.UTF8.GetBytes((string)one["body"]!);
            using var content = new ByteArrayContent(body);
            content.Headers.ContentType = MediaTypeHeaderValue.Parse((string)one["type"]!);
            using var response = await app.Http.PostAsync("api/conversations/c/images", content);

            var answer = await response.Content.ReadAsStringAsync();
            Assert.That((int)response.StatusCode, Is.EqualTo((int)one["status"]!), answer);
            if ((string?)one["detail"] is { } detail)
                Assert.That((string?)JsonNode.Parse(answer)!["detail"], Does.Contain(detail));
        }
    }

    /// <summary>A client that comes back by the query gets what one with the header gets.</summary>
    private static async Task EventsAsync(JsonNode input)
    {
        await using var app = await TestApp.StartAsync(new() { ["Auth:AllowedOrigins:0"] = "https://chat.example" });
        string first;
        using (var watching = await SseReader.OpenAsync(app.Http, "api/conversations/c/events"))
        {
            await CompleteAsync(app, new { width = 64, height = 64 }, "c");
            await watching.ReadAsync();
            first = watching.LastEventId;
        }

        using var byHeader = await SseReader.OpenAsync(app.Http, "api/conversations/c/events", first);
        var missed = (await byHeader.ReadAsync()).ToJsonString();
        foreach (var name in input["queries"]!.AsArray())
        {
            using var byQuery = await SseReader.OpenAsync(app.Http, $"api/conversations/c/events?{name}={first}");
            Assert.That((await byQuery.ReadAsync()).ToJsonString(), Is.EqualTo(missed), (string?)name);
        }

        var headers = input["preflight"]!.AsArray().Select(header => (string)header!).ToArray();
        using var preflight = new HttpRequestMessage(HttpMethod.Options, "api/conversations/c/events");
        preflight.Headers.Add("Origin", "https://chat.example");
        preflight.Headers.Add("Access-Control-Request-Method", "GET");
        preflight.Headers.Add("Access-Control-Request-Headers", string.Join(',', headers));
        using var allowed = await app.Http.SendAsync(preflight);
        Assert.That(
            headers,
            Is.SubsetOf(string.Join(',', allowed.Headers.GetValues("Access-Control-Allow-Headers")).ToLowerInvariant().Split(',')));
    }

    private static async Task StartsAsync(JsonNode input)
    {
        using var folder = new TemporaryFolder();
        foreach (var one in input.AsArray())
        {
            var (settings, sentence) = (Values(one!["settings"]), (string?)one["sentence"]);
            var environment = Values(one["environment"]);
            if (environment.Count > 0)
            {
                await using var process = AppProcess.Launch(
                    folder.Path, forge: null, environment.ToDictionary(value => value.Key, value => value.Value!));
                Assert.That((await process.ExitAsync(), process.Output), Is.EqualTo((1, process.Output)));
                Assert.That(
                    process.Output, Does.Contain("ImageQueue cannot start. ").And.Contain(sentence).And.Not.Contain("Unhandled exception"));
                continue;
            }

            Exception? failure = null;
            try
            {
                await using var app = await TestApp.StartAsync(settings);
            }
            catch (Exception e)
            {
                failure = e;
            }

            Assert.That(
                failure is null ? null : StartFailure.SentenceOf(failure) ?? $"{failure}",
                sentence is null ? Is.Null : Does.Contain(sentence));
            Assert.That(File.Exists(":memory:"), Is.False);
        }
    }

    private static async Task WebhooksAsync(JsonNode input)
    {
        var cases = input.AsArray().Select(one => one!.AsObject()).ToList();
        var receivers = new List<TestReceiver>();
        var settings = new Dictionary<string, string?> { ["Webhooks:Timeout"] = "00:00:01" };
        try
        {
            foreach (var (i, one) in cases.Index())
            {
                receivers.Add(await TestReceiver.StartAsync());
                receivers[i].Answer = AnswerOf(one["answers"]!.AsArray(), receivers[i]);
                foreach (var (key, value) in receivers[i].Settings())
                    settings[key.Replace(":0:", $":{i}:", StringComparison.Ordinal)] = value;
            }

            await using var app = await TestApp.StartAsync(settings);
            var conditions = app.Services.GetRequiredService<SystemConditions>();
            var names = app.Services.GetRequiredService<WebhookReceivers>().All;

            await CompleteAsync(app, new { width = 64, height = 64 });

            foreach (var (i, one) in cases.Index())
            {
                if ((int?)one["deliveries"] is { } count)
                    await Until.TrueAsync(() => receivers[i].Deliveries.Count == count, $"{one["name"]}: {count} deliveries");
                if ((string?)one["condition"] is { } code)
                {
                    await Until.TrueAsync(
                        async () => (await conditions.GetAsync(default)).Any(condition =>
                            (condition.Code, condition.Subject) == (code, names[i].Name)),
                        $"{one["name"]}: {code}");
                }
            }

            // No one is told twice of what it took, and a suspended receiver hears nothing of the next image.
            var next = (long)(await CompleteAsync(app, new { width = 64, height = 64 }))["id"]!;
            foreach (var (i, one) in cases.Index().Where(one => (int?)one.Item["deliveries"] is not null))
            {
                var isSuspended = (string?)one["condition"] is not null;
                if (!isSuspended)
                    await receivers[i].TakenAsync(next, WebhookEvents.Complete);
                var came = receivers[i].Deliveries;
                Assert.That(came, Has.Count.EqualTo((int)one["deliveries"]! + (isSuspended ? 0 : 1)), (string?)one["name"]);
                var ids = came.Where(delivery => delivery.MessageId != next).Select(delivery => delivery.Id).Distinct();
                Assert.That(ids.Count(), Is.EqualTo(1));
            }
        }
        finally
        {
            foreach (var receiver in receivers)
                await receiver.DisposeAsync();
        }

        static Func<HttpContext, Task<int>> AnswerOf(JsonArray answers, TestReceiver receiver)
        {
            var given = -1;
            return context =>
            {
                var answer = answers[Math.Min(Interlocked.Increment(ref given), answers.Count - 1)]!;
                if ((bool?)answer["closes"] == true)
                    return TestReceiver.CloseAsync(context);
                if ((bool?)answer["hangs"] == true)
                    return receiver.HangAsync(context);
                context.Response.Headers.RetryAfter = (string?)answer["retry_after"];
                context.Response.Headers.Location = (string?)answer["location"];
                return Task.FromResult(context.Response.StatusCode = (int)answer["status"]!);
            };
        }
    }

    /// <summary>The words that end a request; ForgeWordsTests holds what the others mean.</summary>
    private static async Task WordsAsync(JsonNode input)
    {
        var (words, sent) = ((JsonNode?)null, 0);
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        server.Proxy = (context, prompt, answer) =>
        {
            if (prompt is null or Canary.Prompt)
                return answer();
            sent++;
            return WriteAsync(
                context, 500, "application/json", JsonSerializer.Serialize(new { error = words!["error"], message = words["message"] }));
        };
        await using var app = await TestApp.StartAsync(SimulatorServer.Settings(server));
        foreach (var one in input.AsArray().Where(one => (string?)one!["expected"] is ErrorCodes.OutOfMemory or ErrorCodes.BackendFailed))
        {
            (words, sent) = (one, 0);
            var id = (long)(await app.SubmitAsync("bir gül", more: new { width = 64, height = 64 }))["id"]!;

            var message = await app.WaitForAsync(id, MessageStatus.Error, MessageStatus.Complete);

            var code = (string?)message["extra_metadata"]!["error_code"];
            Assert.That((code, sent), Is.EqualTo(((string?)one!["expected"], code == ErrorCodes.OutOfMemory ? 1 : 2)), one.ToJsonString());
        }
    }

    private static async Task<JsonObject> CompleteAsync(TestApp app, object more, string conversation = "demo")
    {
        var message = await app.SubmitAsync("bir gül", conversation, more: more);
        message = await app.WaitForAsync((long)message["id"]!, MessageStatus.Complete, MessageStatus.Error);
        Assert.That(
            (string?)message["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Complete), $"{message.ToJsonString()}\n{app.Log}");
        return message;
    }

    /// <summary>Forge's answer with this picture.</summary>
    private static Task AnswerAsync(HttpContext context, byte[] image, JsonNode info) =>
        WriteAsync(context, 200, "application/json", JsonSerializer.Serialize(
            new { images = new[] { Convert.ToBase64String(image) }, parameters = new { }, info = info.ToJsonString() }));

    private static async Task WriteAsync(HttpContext context, int status, string type, string body)
    {
        (context.Response.StatusCode, context.Response.ContentType) = (status, type);
        await context.Response.WriteAsync(body);
    }

    private static byte[] Png(int width, int height)
    {
        using var bitmap = new SKBitmap(width, height);
        bitmap.Erase(SKColors.SteelBlue);
        using var png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();
    }

    private static Dictionary<string, string?> Values(JsonNode? values) =>
        values?.AsObject().ToDictionary(value => value.Key, value => (string?)value.Value) ?? [];

    private static JsonNode Read(string file) => JsonNode.Parse(Bytes(file))!;

    private static byte[] Bytes(string file)
    {
        using var stream = typeof(CaseTests).Assembly.GetManifestResourceStream(Folder + file)!; // Embedded.
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }
}
