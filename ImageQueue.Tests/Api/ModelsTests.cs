using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Forge;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>Models over HTTP: offered, asked for, generated with, refused.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ModelsTests
{
    private static readonly Dictionary<string, string?> Two = new()
    {
        ["Forge:Models:dev:Checkpoint"] = "flux1-dev-bnb-nf4-v2",
        ["Forge:Models:dev:Title"] = "FLUX.1 dev",
        ["Forge:Models:schnell:Checkpoint"] = "flux1-schnell-fp8",
        ["Forge:Models:schnell:Steps"] = "4",
        ["Forge:Models:schnell:Width"] = "512",
        ["Forge:Models:schnell:Height"] = "512",
    };

    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await TestApp.StartAsync(Two);

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    [Test]
    public async Task Get_OffersThem_TheDefaultFirst()
    {
        var answer = await TestApp.ReadAsync(await _app.Http.GetAsync("api/models"));

        Assert.That(JsonNode.DeepEquals(answer["models"], JsonNode.Parse(
            """
            [
              {"name":"dev","title":"FLUX.1 dev","width":1024,"height":1024,"steps":20,"cfg_scale":1,"distilled_cfg_scale":3.5,
                  "sampler":"Euler","scheduler":"Simple"},
              {"name":"schnell","title":"schnell","width":512,"height":512,"steps":4,"cfg_scale":1,"distilled_cfg_scale":3.5,
                  "sampler":"Euler","scheduler":"Simple"}]
            """)), answer.ToJsonString());
    }

    [Test]
    public async Task Get_OffersWhatTheBackendsList()
    {
        await using var forge = await StubServer.StartAsync();
        forge["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"},{"name":"Heun"}]""");
        forge["/sdapi/v1/schedulers"] = (200, """[{"name":"simple","label":"Simple"}]""");
        forge["/sdapi/v1/loras"] = (200, """[{"name":"film-grain","alias":"grain","path":"/l","metadata":{}}]""");
        forge["/sdapi/v1/upscalers"] = (200, """[{"name":"None"},{"name":"R-ESRGAN 4x+","scale":4}]""");
        await using var app = await TestApp.StartAsync(new() { ["Forge:Backends:0:Url"] = forge.Backend.Url.AbsoluteUri });

        var answer = new JsonObject();
        await Until.TrueAsync(
            async () =>
            {
                answer = await TestApp.ReadAsync(await app.Http.GetAsync("api/models"));
                return answer["upscalers"]!.AsArray().Count > 0;
            },
            "the backend's lists are learnt");
        answer.Remove("models");

        Assert.That(
            answer.ToJsonString(),
            Is.EqualTo(JsonNode.Parse(
                """
                {"samplers":["Euler","Heun"],"schedulers":["Simple"],"loras":["film-grain"],"upscalers":["None","R-ESRGAN 4x+"],
                 "can":["text_to_image","image_to_image","inpaint","upscale"]}
                """)!.ToJsonString()));
    }

    [Test]
    public async Task Get_IsEmpty_WhenNoneIsConfigured()
    {
        await using var app = await TestApp.StartAsync();

        var answer = await TestApp.ReadAsync(await app.Http.GetAsync("api/models"));

        Assert.That(answer["models"]!.AsArray(), Is.Empty);
    }

    /// <summary>The lines of README, as printed.</summary>
    [Test]
    public async Task Models_AreGenerated_WhenTheyAreSetAsInReadme()
    {
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Models:flux:Checkpoint"] = "flux1-dev",
            ["Forge:Models:flux:Title"] = "FLUX.1 dev",
            ["Forge:Models:turbo:Checkpoint"] = "sdxl-turbo",
            ["Forge:Models:turbo:Steps"] = "4",
        });

        foreach (var (model, checkpoint) in ((string, string)[])[("flux", "flux1-dev"), ("turbo", "sdxl-turbo")])
        {
            var id = (long)(await app.SubmitAsync("bir kedi", more: new { model, width = 64, height = 64 }))["id"]!;
            var message = await app.WaitForAsync(id, "complete", "error");
            Assert.That((string?)message["extra_metadata"]!["result"]?["model"], Is.EqualTo(checkpoint), message.ToJsonString());
        }
    }

    [Test]
    public async Task Request_IsRefused_WhenNoBackendHasItsModel()
    {
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Models:flux:Checkpoint"] = "flux1-dev",
            ["Forge:Models:missing:Checkpoint"] = "sd15/v1-5-pruned.safetensors",
        });
        var first = (long)(await app.SubmitAsync("bir kedi", more: new { model = "flux", width = 64, height = 64 }))["id"]!;
        await app.WaitForAsync(first, "complete", "error");

        using var refused = await app.Http.PostAsJsonAsync(
            "api/conversations/c/images", new { username = "ayşe", prompt = "bir kedi", model = "missing" });

        var problem = await TestApp.ReadAsync(refused);
        Assert.That((refused.StatusCode, (string?)problem["code"]), Is.EqualTo((HttpStatusCode.UnprocessableEntity, "unknown_model")));
        Assert.That(
            (string?)problem["detail"], Is.EqualTo("No image server here has the model 'missing'. Send one of these as model: flux."));
    }

    [TestCase("schnell", "flux1-schnell-fp8", 512)]
    [TestCase(null, "flux1-dev-bnb-nf4-v2", 1024)]
    public async Task Request_IsGeneratedWithItsModel(string? asked, string checkpoint, int width)
    {
        var accepted = await _app.SubmitAsync("bir kedi", more: asked is null ? null : new { model = asked });

        var done = await _app.WaitForAsync((long)accepted["id"]!, "complete", "error");

        var metadata = done["extra_metadata"]!;
        Assert.Multiple(() =>
        {
            Assert.That((string?)metadata["settings"]!["model"], Is.EqualTo(asked ?? "dev"));
            Assert.That((string?)metadata["settings"]!["checkpoint"], Is.EqualTo(checkpoint));
            Assert.That((string?)metadata["result"]?["model"], Is.EqualTo(checkpoint), metadata.ToJsonString());
            Assert.That((int?)metadata["result"]?["width"], Is.EqualTo(width));
        });
    }

    [TestCase("""{"username":"a","prompt":"a cat","model":"sd15"}""",
        "There is no model 'sd15'. Send one of these, or leave model out: dev, schnell.", "unknown_model")]
    [TestCase("""{"username":"a","prompt":"a cat","model":""}""", "model must not be empty.", null)]
    [TestCase("""{"username":"a","prompt":"a cat","checkpoint":"x"}""",
        "checkpoint cannot be chosen here; leave it out, or send one of these as model: dev, schnell.", null)]
    public async Task Request_IsRefused_WhenItsModelIsNotOffered(string body, string sentence, string? code)
    {
        using var response = await _app.Http.PostAsync(
            "api/conversations/models/images", new StringContent(body, Encoding.UTF8, "application/json"));

        var problem = await TestApp.ReadAsync(response);
        Assert.Multiple(() =>
        {
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
            Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("application/problem+json"));
            Assert.That((string?)problem["detail"], Is.EqualTo(sentence));
            if (code is not null)
                Assert.That((string?)problem["code"], Is.EqualTo(code));
        });
    }

    [Test]
    public async Task OpenApi_HasThem()
    {
        var document = await _app.Http.GetFromJsonAsync<JsonObject>("openapi/v1.json");

        Assert.That(document!["paths"]!["/api/models"], Is.Not.Null);
        Assert.That(document["components"]!["schemas"]!["ImageRequestBody"]!["properties"]!["model"], Is.Not.Null);
    }
}
