using System.Text.Json;
using ImageQueue.Core.Forge;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>What a server does otherwise than it was asked: noticed before painting, or after it.</summary>
[TestFixture]
[CancelAfter(20_000)]
public sealed class ForgeClientNoticesTests
{
    private static readonly PaintRequest Request = new() { Prompt = "bir gül", Width = 512, Height = 512, Steps = 20, CfgScale = 1m, DistilledCfgScale = 3.5m };

    private StubServer _server = null!;
    private ServiceProvider _services = null!;
    private IForgeClient _client = null!;

    [SetUp]
    public async Task SetUp()
    {
        _server = await StubServer.StartAsync();
        _services = new ServiceCollection().AddLogging().AddForgeClient().BuildServiceProvider();
        _client = _services.GetRequiredService<IForgeClient>();
    }

    [TearDown]
    public async Task TearDown()
    {
        await _services.DisposeAsync();
        await _server.DisposeAsync();
    }

    [TestCase("flux1-dev.safetensors", "flux1-dev", true)]
    [TestCase("Flux\\flux1-dev.safetensors [a1b2c3d4e5]", "flux1-dev", true)]
    [TestCase("a1b2c3d4e5", "flux1-dev", true, Description = "by its hash")]
    [TestCase("ffffffffff", "flux1-dev", true, Description = "a hash that the server does not list says nothing")]
    [TestCase("sdxl.safetensors", "flux1-dev", false)]
    [TestCase("flux1", "flux1-dev", false)]
    [TestCase("sdxl.safetensors", null, true, Description = "the server does not say")]
    public async Task PaintAsync_SaysWrongModel_WhenAnotherPainted(string asked, string? painted, bool isRight)
    {
        await LearnAsync(("/sdapi/v1/sd-models", """[{"title":"flux/flux1-dev.safetensors [a1b2c3d4e5]","model_name":"flux1-dev","hash":"a1b2c3d4e5"},{"title":"sdxl.safetensors","model_name":"sdxl"}]"""));
        AnswerPicture(new { sd_model_name = painted });

        var exception = await FailureAsync(Request with { Checkpoint = asked });

        Assert.That(exception?.Failure, Is.EqualTo(isRight ? null : (ForgeFailure?)ForgeFailure.WrongModel));
        if (!isRight) Assert.That(exception!.Reason, Is.EqualTo($"it painted by flux1-dev, and {asked} was asked for"));
    }

    [TestCase("Euler", "Euler", true)]
    [TestCase("euler", "Euler", true)]
    [TestCase("k_euler", "Euler", true)]
    [TestCase("my alias", "DPM++ 2M", true)]
    [TestCase("DPM++ 2M Karras", "DPM++ 2M", true, Description = "an older name, with the scheduler in it")]
    [TestCase("DPM++ 2M", "dpm++2m", true, Description = "stable-diffusion.cpp")]
    [TestCase("Eulre", "DPM++ 2M", false)]
    [TestCase("Euler a", "Euler", false)]
    [TestCase("Eulre", null, true, Description = "the server does not say")]
    public async Task PaintAsync_SaysRejected_WhenTheSamplerWasReplaced(string asked, string? painted, bool isRight)
    {
        await LearnAsync(("/sdapi/v1/samplers", """[{"name":"Euler","aliases":["k_euler"]},{"name":"DPM++ 2M","aliases":["my alias"]}]"""));
        AnswerPicture(new { sampler_name = painted });

        var exception = await FailureAsync(Request with { Sampler = asked });

        Assert.That(exception?.Failure, Is.EqualTo(isRight ? null : (ForgeFailure?)ForgeFailure.Rejected));
        if (isRight) return;
        Assert.Multiple(() =>
        {
            Assert.That(exception!.Reason, Is.EqualTo($"it painted by the sampler {painted}, and {asked} was asked for; it has DPM++ 2M, Euler"));
            Assert.That((exception.Refusal!.Field, exception.Refusal.Value), Is.EqualTo(("sampler", asked)));
            Assert.That(exception.Refusal!.Choices, Is.EqualTo(new[] { "DPM++ 2M", "Euler" }));
        });
    }

    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"interrupted":true}}""", true)]
    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"skipped":true,"interrupted":false}}""", true)]
    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"interrupted":false}}""", false)]
    [TestCase("""{"progress":0.4}""", false)]
    public async Task PaintAsync_SaysInterrupted_WhenSomebodyElseStoppedIt(string state, bool expected)
    {
        await LearnAsync(("/sdapi/v1/progress", state));
        AnswerPicture(new { });

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(expected ? (ForgeFailure?)ForgeFailure.Interrupted : null));
    }

    [Test]
    public async Task PaintAsync_SaysInterrupted_WhenNoPictureIsLeft()
    {
        await LearnAsync(("/sdapi/v1/progress", """{"progress":0,"state":{"interrupted":true}}"""));
        _server["/sdapi/v1/txt2img"] = (200, """{"images":[],"info":"{}"}""");

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(ForgeFailure.Interrupted));
    }

    [Test]
    public async Task PaintAsync_TakesThePicture_WhenTheServerDoesNotSayMore()
    {
        await LearnAsync(("/sdapi/v1/progress", """{"progress":0,"state":{}}"""));
        AnswerPicture(new { });
        _server["/sdapi/v1/progress"] = (500, "boom");

        Assert.That(await FailureAsync(Request), Is.Null);
    }

    [TestCase(true, 2147483648, true)]
    [TestCase(true, 2147483647, false)]
    [TestCase(false, 4294967295, false)]
    public async Task PaintAsync_SaysRejected_WhenTheSeedIsBeyondTheServer(bool kobold, long seed, bool expected)
    {
        if (kobold)
            await LearnAsync(("/sdapi/v1/sd-models", """[{"title":"m","model_name":"m","hash":"8888888888"}]"""), ("/api/extra/version", """{"result":"KoboldCpp","version":"1.95"}"""));
        AnswerPicture(new { });

        var exception = await FailureAsync(Request with { Seed = seed });

        Assert.That(exception?.Refusal, expected ? Is.Not.Null : Is.Null);
        if (!expected) return;
        Assert.Multiple(() =>
        {
            Assert.That((exception!.Failure, exception.Refusal!.Field, exception.Refusal.Choices.Single()), Is.EqualTo((ForgeFailure.Rejected, "seed", "-1..2147483647")));
            Assert.That(_server.Requests, Is.Empty, "nothing was sent");
        });
    }

    [TestCase("8888888888", "< sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül")]
    [TestCase("a1b2c3d4e5", "<sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül")]
    public async Task PaintAsync_TakesTheEdgeOffExtraArguments_WhenTheServerWouldObeyThem(string hash, string sent)
    {
        await LearnAsync(("/sdapi/v1/sd-models", $$"""[{"title":"m","model_name":"m","hash":"{{hash}}"}]"""), ("/sdapi/v1/options", """{"sd_model_checkpoint":"m","CLIP_stop_at_last_layers":1}"""));
        AnswerPicture(new { });

        await _client.PaintAsync(_server.Backend, "t", Request with { Prompt = "<sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül" }, default);

        using var body = JsonDocument.Parse(_server.Requests.First(request => request.Path == "/sdapi/v1/txt2img").Body);
        Assert.That(body.RootElement.GetProperty("prompt").GetString(), Is.EqualTo(sent));
    }

    [TestCase(true, false, """{"sd_model_checkpoint":"m","forge_additional_modules":[]}""", false)]
    [TestCase(false, false, """{"sd_model_checkpoint":"m"}""", false)]
    [TestCase(true, true, """{"sd_model_checkpoint":"m","forge_additional_modules":[]}""", null)]
    public async Task PaintAsync_SendsModulesEachTime_AndKeepsTheModel(bool isForge, bool shared, string settings, bool? restore)
    {
        _server.Backend = _server.Backend with { Shared = shared };
        await LearnAsync(("/sdapi/v1/options", isForge ? """{"forge_additional_modules":["ae.safetensors"]}""" : "{}"));
        AnswerPicture(new { });

        await _client.PaintAsync(_server.Backend, "t", Request with { Checkpoint = "m" }, default);

        using var body = JsonDocument.Parse(_server.Requests.First(request => request.Path == "/sdapi/v1/txt2img").Body);
        Assert.That(body.RootElement.GetProperty("override_settings").GetRawText(), Is.EqualTo(settings));
        Assert.That(body.RootElement.TryGetProperty("override_settings_restore_afterwards", out var sent) ? sent.GetBoolean() : (bool?)null, Is.EqualTo(restore));
    }

    [TestCase("<html><body>please sign in</body></html>")]
    [TestCase("  \r\n<!DOCTYPE html><title>Hello</title>")]
    public async Task PaintAsync_SaysUnavailable_WhenAPageAnswers(string page)
    {
        _server["/sdapi/v1/txt2img"] = (200, page);

        var exception = await FailureAsync(Request);

        Assert.That((exception?.Failure, exception?.MayGoOn), Is.EqualTo(((ForgeFailure?)ForgeFailure.Unavailable, (bool?)false)));
    }

    [TestCase(504, true)]
    [TestCase(502, true)]
    [TestCase(524, true)]
    [TestCase(503, false)]
    [TestCase(401, false)]
    [TestCase(429, false)]
    [TestCase(500, false)]
    public async Task PaintAsync_SaysWhetherItMayGoOn_WhenAProxyAnswers(int status, bool expected)
    {
        _server["/sdapi/v1/txt2img"] = (status, "");

        Assert.That((await FailureAsync(Request))!.MayGoOn, Is.EqualTo(expected));
    }

    private async Task LearnAsync(params (string Path, string Body)[] answers)
    {
        foreach (var (path, body) in answers) _server[path] = (200, body);
        await _client.LearnAsync(_server.Backend, default);
        _server.Requests.Clear();
    }

    private void AnswerPicture(object info) => _server["/sdapi/v1/txt2img"] =
        (200, JsonSerializer.Serialize(new { images = new[] { Convert.ToBase64String("picture"u8) }, info = JsonSerializer.Serialize(info) }));

    private async Task<ForgeException?> FailureAsync(PaintRequest request)
    {
        try
        {
            await _client.PaintAsync(_server.Backend, "t", request, default);
            return null;
        }
        catch (ForgeException exception)
        {
            return exception;
        }
    }
}
