using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Tests.Forge;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Compatibility;

/// <summary>A1111's API over HTTP: what bots and chat apps send, and what they read.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class A1111Tests
{
    [Test]
    public async Task TextToImage_AnswersAsSillyTavernReads()
    {
        await using var app = await TestApp.StartAsync();

        // SillyTavern: src/endpoints/stable-diffusion.js; it reads images[0] and polls progress.
        Assert.That((await app.Http.GetAsync(new Uri("sdapi/v1/options", UriKind.Relative))).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        var answer = await PostAsync(app, "sdapi/v1/txt2img", new
        {
            prompt = "a cat",
            negative_prompt = "dogs",
            sampler_name = "Euler",
            scheduler = "Simple",
            steps = 4,
            cfg_scale = 7,
            width = 300,
            height = 256,
            restore_faces = false,
            enable_hr = false,
            hr_upscaler = "Latent",
            seed = 42,
            override_settings = new { CLIP_stop_at_last_layers = 2 },
            clip_skip = 2,
            save_images = true,
            send_images = true,
            do_not_save_grid = false,
            do_not_save_samples = false,
        });

        var info = JsonNode.Parse((string)answer["info"]!)!;
        Assert.That(answer["images"]!.AsArray(), Has.Count.EqualTo(1));
        Assert.That(((long)info["seed"]!, (int)info["width"]!, (string?)info["sampler_name"]), Is.EqualTo((42L, 296, "Euler")));
        Assert.That((string?)info["infotexts"]![0], Does.StartWith("a cat\nNegative prompt: dogs\nSteps: 4, Sampler: Euler,"));
        Assert.That((string?)answer["parameters"]!["prompt"], Is.EqualTo("a cat"));
    }

    [Test]
    public async Task Options_RememberTheCallersModel_AndChangeNoBackend()
    {
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Models:flux:Checkpoint"] = "flux1-dev-bnb-nf4-v2",
            ["Forge:Models:quick:Checkpoint"] = "flux1-schnell-fp8",
            ["Forge:DefaultModel"] = "flux",
        });

        await PostAsync(app, "sdapi/v1/options", new { sd_model_checkpoint = "quick" });

        Assert.That((string?)(await GetAsync(app, "sdapi/v1/options"))["sd_model_checkpoint"], Is.EqualTo("quick"));
        var answer = await PostAsync(app, "sdapi/v1/txt2img", new { prompt = "a cat", width = 64, height = 64 });
        Assert.That((string?)JsonNode.Parse((string)answer["info"]!)!["sd_model_name"], Is.EqualTo("quick"));
        answer = await PostAsync(
            app, "sdapi/v1/txt2img",
            new { prompt = "a cat", width = 64, height = 64, override_settings = new { sd_model_checkpoint = "flux" } });
        Assert.That((string?)JsonNode.Parse((string)answer["info"]!)!["sd_model_name"], Is.EqualTo("flux"));
    }

    [Test]
    public async Task Progress_IsTheCallersOwn_AndInterruptEndsIt()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "30" });
        var call = PostAsync(app, "sdapi/v1/txt2img", new { prompt = "a cat", n_iter = 3, force_task_id = "task(1)" });
        await Until.TrueAsync(async () => (bool)(await TaskAsync())["active"]!, "the task is active");
        await Until.TrueAsync(async () => (double)(await GetAsync(app, "sdapi/v1/progress"))["progress"]! > 0, "its progress is seen");
        var waiting = (await GetAsync(app, "internal/pending-tasks"))["tasks"]!.AsArray();
        Assert.That(waiting.Select(one => (string?)one), Is.EqualTo(["task(1)"]));

        await PostAsync(app, "sdapi/v1/skip", new { });
        await Until.TrueAsync(async () => (bool)(await TaskAsync())["active"]!, "the second is next");
        await PostAsync(app, "sdapi/v1/interrupt", new { });

        Assert.That((await call)["images"]!.AsArray(), Is.Empty);
        Assert.That((bool)(await TaskAsync())["completed"]!, Is.True);
        Assert.That((int)(await GetAsync(app, "sdapi/v1/progress"))["state"]!["job_count"]!, Is.Zero);

        Task<JsonObject> TaskAsync() => PostAsync(app, "internal/progress", new { id_task = "task(1)" });
    }

    [TestCase("[fault:oom] a cat", HttpStatusCode.InternalServerError, "OutOfMemoryError")]
    [TestCase("[fault:500] a cat", HttpStatusCode.InternalServerError, "backend_failed")]
    public async Task TextToImage_FailsAsA1111Does(string prompt, HttpStatusCode status, string error)
    {
        await using var app = await TestApp.StartAsync();

        var response = await app.Http.PostAsJsonAsync("sdapi/v1/txt2img", new { prompt });

        Assert.That((response.StatusCode, (string?)(await TestApp.ReadAsync(response))["error"]), Is.EqualTo((status, error)));
    }

    [Test]
    public async Task TextToImage_NamesTheField_AsFastApiDoes()
    {
        await using var app = await TestApp.StartAsync();

        var response = await app.Http.PostAsJsonAsync("sdapi/v1/txt2img", new { prompt = "x", steps = 500 });

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
        Assert.That((await TestApp.ReadAsync(response))["detail"]![0]!["loc"]!.ToJsonString(), Is.EqualTo("""["body","steps"]"""));
    }

    [TestCase("sd-models", 2)]
    [TestCase("samplers", 5)]
    [TestCase("schedulers", 5)]
    public async Task Lists_AreWhatTheBackendsList(string list, int atLeast)
    {
        await using var app = await TestApp.StartAsync();
        await Until.TrueAsync(async () => ListOf(await app.Http.GetStringAsync($"sdapi/v1/{list}")).Count >= atLeast, $"{list} are listed");

        Assert.That(ListOf(await app.Http.GetStringAsync($"sdapi/v1/{list}")), Has.Count.AtLeast(atLeast));

        static JsonArray ListOf(string text) => JsonNode.Parse(text)!.AsArray();
    }

    [Test]
    public async Task Another_ImageQueue_CanBeABackend()
    {
        await using var inner = await TestApp.StartAsync();
        await using var outer = await TestApp.StartAsync(
            new() { ["Forge:Backends:0:Url"] = inner.Address.ToString(), ["Forge:Backends:0:Name"] = "queue" });

        var message = await outer.WaitForAsync(
            (long)(await outer.SubmitAsync("a cat", more: new { width = 64, height = 64, seed = 3 }))["id"]!, "complete", "error");

        Assert.That((string?)message["extra_metadata"]!["status"], Is.EqualTo("complete"), message.ToJsonString());
        Assert.That((string?)message["extra_metadata"]!["result"]!["backend"], Is.EqualTo("queue"));
        Assert.That(await inner.Http.GetStringAsync("api/conversations/a1111-local/messages"), Does.Contain("a cat"));
    }

    [Test]
    public async Task Lists_AreTheBackends()
    {
        await using var forge = await StubServer.StartAsync();
        forge["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"}]""");
        forge["/sdapi/v1/loras"] = (200, """[{"name":"grain"}]""");
        forge["/sdapi/v1/upscalers"] = (200, """[{"name":"Lanczos"}]""");
        forge["/sdapi/v1/latent-upscale-modes"] = (200, """[{"name":"Latent"}]""");
        forge["/sdapi/v1/sd-modules"] = (200, """[{"model_name":"ae.safetensors"}]""");
        forge["/sdapi/v1/embeddings"] = (200, """{"loaded":{"easynegative":{}},"skipped":{}}""");
        await using var app = await TestApp.StartAsync(new() { ["Forge:Backends:0:Url"] = forge.Backend.Url.AbsoluteUri });
        await Until.TrueAsync(async () => (await FirstAsync("loras"))?["name"] is not null, "the lists are learnt");

        Assert.Multiple(async () =>
        {
            Assert.That((string?)(await FirstAsync("loras"))!["alias"], Is.EqualTo("grain"));
            Assert.That((string?)(await FirstAsync("upscalers"))!["name"], Is.EqualTo("Lanczos"));
            Assert.That((string?)(await FirstAsync("latent-upscale-modes"))!["name"], Is.EqualTo("Latent"));
            Assert.That((string?)(await FirstAsync("sd-vae"))!["model_name"], Is.EqualTo("ae.safetensors"));
            Assert.That((await GetAsync(app, "sdapi/v1/embeddings"))["loaded"]!["easynegative"], Is.Not.Null);
        });

        async Task<JsonNode?> FirstAsync(string list) =>
            JsonNode.Parse(await app.Http.GetStringAsync($"sdapi/v1/{list}"))!.AsArray().FirstOrDefault();
    }

    [Test]
    public async Task ForgeClient_LearnsGeneratesFollowsAndInterrupts()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "600" });
        await using var services = new ServiceCollection().AddLogging().AddForgeClient().BuildServiceProvider();
        var client = services.GetRequiredService<IForgeClient>();
        var backend = new ForgeBackend("queue", app.Address);
        await Until.TrueAsync(async () => await client.WhyUnhealthyAsync(backend, CancellationToken.None) is null, "the queue is healthy");

        var capabilities = await client.LearnAsync(backend, CancellationToken.None);
        Assert.That(
            (capabilities.TaskIds, capabilities.GlobalProgress, capabilities.Interrupt),
            Is.EqualTo(((bool?)true, (bool?)true, (bool?)true)));
        Assert.That(capabilities.HasModel("flux1-dev-bnb-nf4-v2"), Is.True);

        var request = new GenerationRequest
        {
            Prompt = "a cat",
            Width = 64,
            Height = 96,
            Steps = 4,
            CfgScale = 1m,
            DistilledCfgScale = 3.5m,
            Sampler = "Euler",
            Scheduler = "Simple",
            Seed = 42,
        };
        var image = await client.GenerateAsync(backend, "t1", request, CancellationToken.None);
        Assert.That((ImageCheck.ToPng(image.Bytes).Width, image.Info?.Seed), Is.EqualTo((64, (long?)42)));

        var interrupted = client.GenerateAsync(backend, "t2", request with { Steps = 150 }, CancellationToken.None);
        await Until.TrueAsync(
            async () =>
                (await client.GetProgressAsync(backend, "t2", false, CancellationToken.None))
                    .State == ForgeTaskState.Active, "t2 is active");
        await client.InterruptAsync(backend, "t2", CancellationToken.None);
        Assert.That(
            async () => await interrupted,
            Throws.InstanceOf<ForgeException>().With.Property(nameof(ForgeException.Failure)).EqualTo(ForgeFailure.Interrupted));
    }

    private static async Task<JsonObject> PostAsync(TestApp app, string path, object body)
    {
        var response = await app.Http.PostAsJsonAsync(path, body);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    private static async Task<JsonObject> GetAsync(TestApp app, string path) =>
        await TestApp.ReadAsync(await app.Http.GetAsync(new Uri(path, UriKind.Relative)));
}
