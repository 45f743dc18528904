using System.Text.Json.Nodes;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Compatibility;

/// <summary>The clients that chat apps use, from npm, against the running app in Production with keys.</summary>
[TestFixture]
[NonParallelizable]
[Category(Categories.Process)]
internal sealed class RealClientTests
{
    private AuthApp _app = null!; // Set before any test runs.

    private string Address => _app.App.Address.ToString().TrimEnd('/');

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await AuthApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "3" });

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    [Test]
    public async Task OpenAi_GetsTwoImages() =>
        Assert.That((await OpenAiAsync("two")).ToJsonString(), Is.EqualTo("""["PNG","PNG"]"""));

    [Test]
    public async Task OpenAi_GetsAnAddress_ThatNeedsNoHeader() =>
        Assert.That((await OpenAiAsync("url")).ToJsonString(), Is.EqualTo("""{"status":200,"type":"image/png","bytes":true}"""));

    [Test]
    public async Task OpenAi_GetsPreviewsAndTheImage_WhenStreaming()
    {
        var events = (await OpenAiAsync("stream")).AsArray();
        Assert.That(events.Select(one => (string?)one!["magic"]), Is.All.EqualTo("WEBP"));
        Assert.That((string?)events[^1]!["type"], Is.EqualTo("image_generation.completed"));
        Assert.That(events.Take(events.Count - 1).Select(one => (string?)one!["type"]), Is.All.EqualTo("image_generation.partial_image"));
        Assert.That(events, Has.Count.InRange(2, 3), "at least one preview, and no more than two");
    }

    [Test]
    public async Task OpenAi_EditsAndVariesAnImage() => Assert.That(
        (await OpenAiAsync("change")).ToJsonString(),
        Is.EqualTo("""{"edited":"PNG","varied":["PNG","PNG"],"streamed":"image_edit.completed"}"""));

    [Test]
    public async Task OpenAi_ListsTheModels() =>
        Assert.That((string?)(await OpenAiAsync("models"))["one"], Is.EqualTo("model"));

    [Test]
    public async Task OpenAi_GetsAnError_AndDoesNotSendTheCallAgain()
    {
        var answer = await OpenAiAsync("error");
        Assert.That(answer.ToJsonString(), Is.EqualTo("""{"name":"InternalServerError","status":500,"code":"backend_failed"}"""));
        var conversation = await _app.As(AuthApp.ClientKey).GetStringAsync("api/conversations/openai-ayse/messages?limit=200");
        var failed = JsonNode.Parse(conversation)!["messages"]!.AsArray().Count(
            one => (string?)one!["extra_metadata"]!["status"] == "error");
        Assert.That(failed, Is.EqualTo(1));
    }

    [Test]
    public async Task OpenAi_NamesTheWrongField() =>
        Assert.That(
            (await OpenAiAsync("invalid")).ToJsonString(), Is.EqualTo("""{"name":"BadRequestError","status":400,"param":"width"}"""));

    [Test]
    public async Task OpenAi_CancelsItsRequest_WhenItAborts()
    {
        Assert.That((string?)(await OpenAiAsync("abort"))["name"], Is.EqualTo("APIUserAbortError"));
        await Until.TrueAsync(
            async () =>
            {
                var conversation = await _app.As(AuthApp.ClientKey).GetStringAsync("api/conversations/openai-ayse/messages?limit=200");
                return JsonNode.Parse(conversation)!["messages"]!.AsArray().Any(one =>
                    (string?)one!["extra_metadata"]!["prompt"] == "[fault:slow] to be aborted"
                    && (string?)one["extra_metadata"]!["status"] == "cancelled");
            },
            "the request is cancelled");
    }

    [Test]
    public async Task A1111_GetsImagesOfTheModelThatItChose()
    {
        var answer = await NodeClients.RunAsync("a1111.cjs", Address, AuthApp.ClientKey);
        Assert.That(answer["sizes"]!.ToJsonString(), Is.EqualTo("""[["png",256,256],["png",256,256]]"""));
        Assert.That(answer["seeds"]!.ToJsonString(), Is.EqualTo("[7,8]"));
        Assert.That((string?)answer["model"], Is.EqualTo((string?)answer["chosen"]).And.Contain("schnell"));
        Assert.That((bool)answer["samplers"]!, Is.True);
        Assert.That(answer["varied"]!.ToJsonString(), Is.EqualTo("""["png",256,256]"""));
    }

    private Task<JsonNode> OpenAiAsync(string what) => NodeClients.RunAsync("openai.cjs", $"{Address}/v1", AuthApp.ClientKey, what);
}
