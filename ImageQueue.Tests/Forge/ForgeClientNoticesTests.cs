using ImageQueue.Core.Forge;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>What a server does otherwise than it was asked: noticed before generating, or after it.</summary>
[TestFixture]
[CancelAfter(20_000)]
[Category(Categories.App)]
public sealed class ForgeClientNoticesTests
{
    private static readonly GenerationRequest Request =
        new() { Prompt = "bir gül", Width = 512, Height = 512, Steps = 20, CfgScale = 1m, DistilledCfgScale = 3.5m };

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
    public async Task GenerateAsync_SaysWrongModel_WhenAnotherGenerated(string asked, string? generated, bool isRight)
    {
        await LearnAsync(
            (
                "/sdapi/v1/sd-models",
                """[{"title":"flux/flux1-dev.safetensors [a1b2c3d4e5]","model_name":"flux1-dev","hash":"a1b2c3d4e5"},"""
                    + """{"title":"sdxl.safetensors","model_name":"sdxl"}]"""));
        AnswerImage(new { sd_model_name = generated });

        var exception = await FailureAsync(Request with { Checkpoint = asked });

        Assert.That(exception?.Failure, Is.EqualTo(isRight ? null : (ForgeFailure?)ForgeFailure.WrongModel));
        if (!isRight)
            Assert.That(exception!.Reason, Is.EqualTo($"it generated with flux1-dev instead of {asked}"));
    }

    // Title and model_name of a checkpoint in a subfolder, as sd-models lists them; info has the bare file name.
    [TestCase("sub/model-a.safetensors", true)]
    [TestCase("sub/model-a.safetensors [0123abcd99]", true)]
    [TestCase("SUB\\Model-A.safetensors", true)]
    [TestCase("sub_model-a", true)]
    [TestCase("model-a", true)]
    [TestCase("model-a.safetensors", true)]
    [TestCase("/m/sub/model-a.safetensors", true)]
    [TestCase("0123abcd99", true)]
    [TestCase("0123ABCD99", true)]
    [TestCase("other/model-a.safetensors", false, Description = "another folder is another checkpoint")]
    [TestCase("model-b", false)]
    public async Task GenerateAsync_KnowsAllNamesOfACheckpoint_WhenItIsInASubfolder(string name, bool isThere)
    {
        await LearnAsync(("/sdapi/v1/sd-models", """
            [{"title":"sub/model-a.safetensors [0123abcd99]","model_name":"sub_model-a","hash":"0123abcd99","sha256":null,
                "filename":"/m/sub/model-a.safetensors","config":null},
             {"title":"model-b2.safetensors","model_name":"model-b2","hash":null,"sha256":null,"filename":"/m/model-b2.safetensors",
                 "config":null}]
            """));
        AnswerImage(new { sd_model_name = isThere ? "model-a" : "model-b2" });

        var exception = await FailureAsync(Request with { Checkpoint = name });

        Assert.That(exception?.Failure, Is.EqualTo(isThere ? null : (ForgeFailure?)ForgeFailure.WrongModel));
        Assert.That(
            Sent("override_settings").GetProperty("sd_model_checkpoint").GetString(),
            Is.EqualTo(isThere ? "sub/model-a.safetensors" : name));
    }

    [TestCase("Euler", "Euler", null)]
    [TestCase("euler", "Euler", null)]
    [TestCase("k_euler", "Euler", null)]
    [TestCase("my alias", "DPM++ 2M", null)]
    [TestCase("dpm++2m", "DPM++ 2M", null)]
    [TestCase("DPM++ 2M Karras", "DPM++ 2M", "Karras")]
    [TestCase("dpm++ 2m sgm uniform", "DPM++ 2M", "SGM Uniform")]
    [TestCase("Euler a", "Euler a", null)]
    public async Task GenerateAsync_SendsTheBackendsSpelling_WhenASamplerIsNamed(string asked, string sampler, string? scheduler)
    {
        await LearnSamplersAsync();
        AnswerImage(new { sampler_name = sampler });

        Assert.That(await FailureAsync(Request with { Sampler = asked, Scheduler = "Simple" }), Is.Null);
        Assert.That((Sent("sampler_name").GetString(), Sent("scheduler").GetString()), Is.EqualTo((sampler, scheduler ?? "Simple")));
    }

    [TestCase("SIMPLE", "Simple")]
    [TestCase("simple", "simple", Description = "its name, which the backend takes as well")]
    [TestCase("sgm uniform", "SGM Uniform")]
    [TestCase("something new", "something new")]
    public async Task GenerateAsync_SendsTheBackendsSpelling_WhenASchedulerIsNamed(string asked, string sent)
    {
        await LearnSamplersAsync();
        AnswerImage(new { });

        await FailureAsync(Request with { Scheduler = asked });

        Assert.That(Sent("scheduler").GetString(), Is.EqualTo(sent));
    }

    [Test]
    public async Task GenerateAsync_SaysRejectedBeforeItSends_WhenTheBackendHasNoSuchSampler()
    {
        await LearnSamplersAsync();

        var exception = await FailureAsync(Request with { Sampler = "Eulre" });

        Assert.Multiple(() =>
        {
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.Rejected));
            Assert.That(exception.Reason, Is.EqualTo("it has no sampler Eulre; it has DPM++ 2M, Euler, Euler a"));
            Assert.That((exception.Refusal!.Field, exception.Refusal.Value), Is.EqualTo(("sampler", "Eulre")));
            Assert.That(exception.Refusal!.Choices, Is.EqualTo(new[] { "DPM++ 2M", "Euler", "Euler a" }));
            Assert.That(_server.Requests, Is.Empty, "nothing was sent");
        });
    }

    [TestCase("Euler", "DPM++ 2M", false)]
    [TestCase("DPM++ 2M", "dpm++2m", true, Description = "stable-diffusion.cpp")]
    [TestCase("DPM++ 2M Karras", "DPM++ 2M", true, Description = "an older name, with the scheduler in it")]
    [TestCase("Euler", null, true, Description = "the backend does not say")]
    public async Task GenerateAsync_SaysRejected_WhenTheSamplerWasReplaced(string asked, string? used, bool isRight)
    {
        AnswerImage(new { sampler_name = used });

        var exception = await FailureAsync(Request with { Sampler = asked });

        Assert.That(exception?.Failure, Is.EqualTo(isRight ? null : (ForgeFailure?)ForgeFailure.Rejected));
        if (!isRight)
            Assert.That(exception!.Reason, Is.EqualTo($"it generated with the sampler {used} instead of {asked}"));
    }

    [TestCase("KL Optimal", "Automatic", "Automatic")]
    [TestCase("Simple", "Simple", null)]
    [TestCase("sgm_uniform", "SGM Uniform", null)]
    [TestCase("Automatic", "Karras", null, Description = "the backend's own choice was requested")]
    public async Task GenerateAsync_NotesTheScheduler_WhenItWasReplaced(string asked, string used, string? noted)
    {
        await LearnSamplersAsync();
        AnswerImage(
            new
            {
                infotexts = new[]
                {
                    $"a rose, Schedule type: Beta\nNegative prompt: x\nSteps: 20, Sampler: Euler, Schedule type: {used}, CFG scale: 1",
                },
            });

        var image = await _client.GenerateAsync(_server.Backend, "t", Request with { Scheduler = asked }, default);

        Assert.That(image.ReplacedScheduler, Is.EqualTo(noted));
    }

    // The flag is cleared when the next job starts, before our answer arrives; a decoding image is whole.
    [TestCase("""{"progress":0.31,"state":{"job":"x","job_count":1,"interrupted":true,"sampling_step":6,"sampling_steps":20}}""", true)]
    [TestCase("""{"progress":0.96,"state":{"job":"x","job_count":1,"interrupted":true,"sampling_step":19,"sampling_steps":20}}""", false)]
    [TestCase("""{"progress":0.31,"state":{"job":"x","job_count":1,"interrupted":false,"sampling_step":6,"sampling_steps":20}}""", false)]
    public async Task GenerateAsync_SaysInterrupted_WhenItWasSeenWhileGenerating(string state, bool expected)
    {
        await LearnAsync(
            ("/sdapi/v1/progress", state),
            ("/internal/pending-tasks", """{"size":0,"tasks":[]}"""),
            ("/internal/progress", """{"active":true,"queued":false,"completed":false,"progress":0.3}"""));
        AnswerImage(new { });
        await _client.GetProgressAsync(_server.Backend, "t", withPreview: false, default);
        _server["/sdapi/v1/progress"] = (
            200, """{"progress":0.1,"state":{"job":"another","job_count":1,"interrupted":false,"sampling_step":1,"sampling_steps":20}}""");

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(expected ? (ForgeFailure?)ForgeFailure.Interrupted : null));
    }

    /// <summary>Without task ids what a backend of ours alone generates is the task; a shared one's may be another client's.</summary>
    [TestCase(false, true)]
    [TestCase(true, false)]
    public async Task GenerateAsync_SaysInterrupted_WhenABackendWithoutTaskIdsWasSeenInterrupted(bool shared, bool expected)
    {
        _server.Backend = _server.Backend with { Shared = shared };
        await LearnAsync((
            "/sdapi/v1/progress",
            """{"progress":0.3,"state":{"job":"x","job_count":1,"interrupted":true,"sampling_step":6,"sampling_steps":20}}"""));
        AnswerImage(new { });
        await _client.GetProgressAsync(_server.Backend, "t", withPreview: false, default);
        _server["/sdapi/v1/progress"] = (200, """{"progress":0.1,"state":{"job":"another","job_count":1,"interrupted":false}}""");

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(expected ? (ForgeFailure?)ForgeFailure.Interrupted : null));
    }

    [Test]
    public async Task GenerateAsync_IgnoresAnInterrupt_WhenItHitAnotherTask()
    {
        await LearnAsync(
            ("/sdapi/v1/progress", """{"progress":0.3,"state":{"job":"x","job_count":1,"interrupted":true}}"""),
            ("/internal/pending-tasks", """{"size":0,"tasks":[]}"""),
            ("/internal/progress", """{"active":false,"queued":true,"completed":false}"""));
        AnswerImage(new { });
        await _client.GetProgressAsync(_server.Backend, "t", withPreview: false, default);
        _server["/sdapi/v1/progress"] = (200, """{"progress":0,"state":{"job":"","job_count":0,"interrupted":false}}""");

        Assert.That(await FailureAsync(Request), Is.Null);
    }

    [Test]
    public async Task LearnAsync_ReadsTheOptionsOnce_AndGenerationsReadThemNoMore()
    {
        _server["/sdapi/v1/options"] = (200, "{}");
        AnswerImage(new { });

        await _client.WhyUnhealthyAsync(_server.Backend, default);
        await _client.LearnAsync(_server.Backend, default);
        await _client.GenerateAsync(_server.Backend, "t", Request, default);
        await _client.GetProgressAsync(_server.Backend, "t", withPreview: false, default);
        await _client.WhyUnhealthyAsync(_server.Backend, default);

        Assert.That(_server.Requests.Count(request => request.Path == "/sdapi/v1/options"), Is.EqualTo(1));
    }

    [Test]
    public async Task LearnAsync_ReadsWhatThereIsToChooseFrom_AndNothingFromWhatIsNotUnderstood()
    {
        _server["/sdapi/v1/options"] = (200, "{}");
        _server["/sdapi/v1/loras"] = (200, """[{"name":"grain","metadata":{"name":"other"}},{"alias":"without a name"},7]""");
        _server["/sdapi/v1/upscalers"] = (500, "{}");
        _server["/sdapi/v1/latent-upscale-modes"] = (200, """[{"name":"Latent"}]""");
        _server["/sdapi/v1/sd-modules"] = (200, """[{"model_name":"ae.safetensors"},{"model_name":"clip_l.safetensors"}]""");
        _server["/sdapi/v1/sd-vae"] = (200, """[{"model_name":"ae.safetensors","filename":"/v/ae.safetensors"}]""");
        _server["/sdapi/v1/embeddings"] = (200, """{"loaded":{"easynegative":{"step":1}},"skipped":{"old":{}}}""");

        var lists = (await _client.LearnAsync(_server.Backend, default)).Lists;

        Assert.Multiple(() =>
        {
            Assert.That(lists.Loras, Is.EqualTo(new[] { "grain" }));
            Assert.That(lists.Upscalers, Is.Empty);
            Assert.That(lists.LatentUpscaleModes, Is.EqualTo(new[] { "Latent" }));
            Assert.That(lists.Vaes, Is.EqualTo(new[] { "ae.safetensors", "clip_l.safetensors" }));
            Assert.That(lists.Embeddings, Is.EqualTo(new[] { "easynegative" }));
        });
    }

    [TestCase("[]", "it has no model: is its model folder mounted?")]
    [TestCase("""[{"title":"m"}]""", null)]
    [TestCase("<html></html>", null)]
    public async Task WhyUnhealthyAsync_SaysThatThereIsNoModel_WhenTheListIsEmpty(string models, string? why)
    {
        _server["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"}]""");
        _server["/sdapi/v1/sd-models"] = (200, models);

        Assert.That(await _client.WhyUnhealthyAsync(_server.Backend, default), Is.EqualTo(why));
    }

    [TestCase("\uFEFF{0}")]
    [TestCase("""{{"parameters":{{"cfg_scale":NaN,"eta":-Infinity,"s_tmax":Infinity,"prompt":"NaN \" Infinity"}},{1}""")]
    public async Task GenerateAsync_ReadsTheImage_WhenTheJsonIsPythons(string form)
    {
        var info = JsonSerializer.Serialize("""{"seed":7,"denoising_strength":NaN}""");
        var rest = $"\"images\":[\"{Convert.ToBase64String("image"u8)}\"],\"info\":{info}}}";
        _server["/sdapi/v1/txt2img"] = (200, form.Contains("{1}", StringComparison.Ordinal)
            ? form.Replace("{{", "{", StringComparison.Ordinal).Replace("}}", "}", StringComparison.Ordinal).Replace(
                "{1}", rest, StringComparison.Ordinal)
            : "\uFEFF{" + rest);

        var image = await _client.GenerateAsync(_server.Backend, "t", Request, default);

        Assert.That((image.Bytes.ToArray(), image.Info?.Seed), Is.EqualTo(("image"u8.ToArray(), (long?)7)));
    }

    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"interrupted":true}}""", true)]
    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"skipped":true,"interrupted":false}}""", true)]
    [TestCase("""{"progress":0,"state":{"job":"","job_count":0,"interrupted":false}}""", false)]
    [TestCase("""{"progress":0.4}""", false)]
    public async Task GenerateAsync_SaysInterrupted_WhenAnotherClientStoppedIt(string state, bool expected)
    {
        await LearnAsync(("/sdapi/v1/progress", state));
        AnswerImage(new { });

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(expected ? (ForgeFailure?)ForgeFailure.Interrupted : null));
    }

    [Test]
    public async Task GenerateAsync_SaysInterrupted_WhenNoImageIsLeft()
    {
        await LearnAsync(("/sdapi/v1/progress", """{"progress":0,"state":{"interrupted":true}}"""));
        _server["/sdapi/v1/txt2img"] = (200, """{"images":[],"info":"{}"}""");

        Assert.That((await FailureAsync(Request))?.Failure, Is.EqualTo(ForgeFailure.Interrupted));
    }

    [Test]
    public async Task GenerateAsync_TakesTheImage_WhenTheServerDoesNotSayMore()
    {
        await LearnAsync(("/sdapi/v1/progress", """{"progress":0,"state":{}}"""));
        AnswerImage(new { });
        _server["/sdapi/v1/progress"] = (500, "boom");

        Assert.That(await FailureAsync(Request), Is.Null);
    }

    [TestCase(true, 2147483648, true)]
    [TestCase(true, 2147483647, false)]
    [TestCase(false, 4294967295, false)]
    public async Task GenerateAsync_SaysRejected_WhenTheSeedIsBeyondTheServer(bool kobold, long seed, bool expected)
    {
        if (kobold)
        {
            await LearnAsync(
                ("/sdapi/v1/sd-models", """[{"title":"m","model_name":"m","hash":"8888888888"}]"""),
                ("/api/extra/version", """{"result":"KoboldCpp","version":"1.95"}"""));
        }

        AnswerImage(new { });

        var exception = await FailureAsync(Request with { Seed = seed });

        Assert.That(exception?.Refusal, expected ? Is.Not.Null : Is.Null);
        if (!expected)
            return;
        Assert.Multiple(() =>
        {
            Assert.That(
                (exception!.Failure, exception.Refusal!.Field, exception.Refusal.Choices.Single()),
                Is.EqualTo((ForgeFailure.Rejected, "seed", "-1..2147483647")));
            Assert.That(_server.Requests, Is.Empty, "nothing was sent");
        });
    }

    [TestCase("8888888888", "< sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül")]
    [TestCase("a1b2c3d4e5", "<sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül")]
    public async Task GenerateAsync_DefusesExtraArguments_WhenTheBackendWouldObeyThem(string hash, string sent)
    {
        await LearnAsync(
            ("/sdapi/v1/sd-models", $$"""[{"title":"m","model_name":"m","hash":"{{hash}}"}]"""),
            ("/sdapi/v1/options", """{"sd_model_checkpoint":"m","CLIP_stop_at_last_layers":1}"""));
        AnswerImage(new { });

        await _client.GenerateAsync(
            _server.Backend, "t", Request with { Prompt = "<sd_cpp_extra_args>{\"width\":9000}</sd_cpp_extra_args> bir gül" }, default);

        using var body = JsonDocument.Parse(_server.Requests.First(request => request.Path == "/sdapi/v1/txt2img").Body);
        Assert.That(body.RootElement.GetProperty("prompt").GetString(), Is.EqualTo(sent));
    }

    [TestCase(true, false, """{"sd_model_checkpoint":"m","forge_additional_modules":[]}""", false)]
    [TestCase(false, false, """{"sd_model_checkpoint":"m"}""", false)]
    [TestCase(true, true, """{"sd_model_checkpoint":"m","forge_additional_modules":[]}""", null)]
    public async Task GenerateAsync_SendsModulesEachTime_AndKeepsTheModel(bool isForge, bool shared, string settings, bool? restore)
    {
        _server.Backend = _server.Backend with { Shared = shared };
        await LearnAsync(("/sdapi/v1/options", isForge ? """{"forge_additional_modules":["ae.safetensors"]}""" : "{}"));
        AnswerImage(new { });

        await _client.GenerateAsync(_server.Backend, "t", Request with { Checkpoint = "m" }, default);

        using var body = JsonDocument.Parse(_server.Requests.First(request => request.Path == "/sdapi/v1/txt2img").Body);
        Assert.That(body.RootElement.GetProperty("override_settings").GetRawText(), Is.EqualTo(settings));
        Assert.That(
            body.RootElement.TryGetProperty("override_settings_restore_afterwards", out var sent) ? sent.GetBoolean() : (bool?)null,
            Is.EqualTo(restore));
    }

    [TestCase("<html><body>please sign in</body></html>")]
    [TestCase("  \r\n<!DOCTYPE html><title>Hello</title>")]
    public async Task GenerateAsync_SaysDisrupted_WhenAPageAnswers(string page)
    {
        _server["/sdapi/v1/txt2img"] = (200, page);

        var exception = await FailureAsync(Request);

        Assert.That((exception?.Failure, exception?.MayStillBeRunning), Is.EqualTo(((ForgeFailure?)ForgeFailure.Disrupted, (bool?)false)));
    }

    [TestCase(504, true)]
    [TestCase(502, true)]
    [TestCase(524, true)]
    [TestCase(503, false)]
    [TestCase(401, false)]
    [TestCase(429, false)]
    [TestCase(500, false)]
    public async Task GenerateAsync_SaysWhetherItMayStillBeRunning_WhenAProxyAnswers(int status, bool expected)
    {
        _server["/sdapi/v1/txt2img"] = (status, "");

        Assert.That((await FailureAsync(Request))!.MayStillBeRunning, Is.EqualTo(expected));
    }

    private JsonElement Sent(string field)
    {
        using var body = JsonDocument.Parse(_server.Requests.Single(request => request.Path == "/sdapi/v1/txt2img").Body);
        return body.RootElement.GetProperty(field).Clone();
    }

    private Task LearnSamplersAsync() => LearnAsync(
        (
            "/sdapi/v1/samplers",
            """[{"name":"Euler","aliases":["k_euler"]},{"name":"Euler a","aliases":[]},{"name":"DPM++ 2M","aliases":["my alias"]}]"""),
        ("/sdapi/v1/schedulers", """
            [{"name":"automatic","label":"Automatic","aliases":null},{"name":"simple","label":"Simple"},{"name":"karras","label":"Karras"},
             {"name":"sgm_uniform","label":"SGM Uniform"},{"name":"kl_optimal","label":"KL Optimal"}]
            """));

    private async Task LearnAsync(params (string Path, string Body)[] answers)
    {
        foreach (var (path, body) in answers)
            _server[path] = (200, body);
        await _client.LearnAsync(_server.Backend, default);
        _server.Requests.Clear();
    }

    private void AnswerImage(object info) => _server["/sdapi/v1/txt2img"] =
        (
            200,
            JsonSerializer.Serialize(new { images = new[] { Convert.ToBase64String("image"u8) }, info = JsonSerializer.Serialize(info) }));

    private async Task<ForgeException?> FailureAsync(GenerationRequest request)
    {
        try
        {
            await _client.GenerateAsync(_server.Backend, "t", request, default);
            return null;
        }
        catch (ForgeException exception)
        {
            return exception;
        }
    }
}
