using System.Net;
using System.Net.Http.Json;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using NUnit.Framework;

using static ImageQueue.Tests.Simulator.SimulatorServer;

namespace ImageQueue.Tests.Simulator;

/// <summary>Each kind of server has the rows of the table "other servers to tolerate" (forge-api).</summary>
[Category(Categories.App)]
public sealed class SimulatorProfileTests
{
    [TestCase("forge", 200, 200, 200, 200, 200)]
    [TestCase("forge-nowebui", 404, 404, 200, 200, 200)]
    [TestCase("forge-classic", 200, 200, 200, 404, 200)]
    [TestCase("neo", 200, 200, 200, 200, 200)]
    [TestCase("a1111-old", 200, 404, 200, 404, 200)]
    [TestCase("a1111", 200, 200, 200, 200, 200)]
    [TestCase("sdnext", 200, 404, 200, 404, 200)]
    [TestCase("sdcpp", 404, 404, 404, 200, 404)]
    [TestCase("koboldcpp", 404, 404, 404, 404, 404)]
    public async Task Endpoints_AreThoseOfTheKind(string kind, int ping, int pendingTasks, int progress, int schedulers, int openApi)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));

        Assert.That(
            (await StatusAsync("internal/ping"), await StatusAsync("internal/pending-tasks"), await StatusAsync("sdapi/v1/progress"),
                await StatusAsync("sdapi/v1/schedulers"), await StatusAsync("openapi.json"),
                await StatusAsync("sdapi/v1/samplers"), await StatusAsync("sdapi/v1/options"), await StatusAsync("sdapi/v1/sd-models")),
            Is.EqualTo((ping, pendingTasks, progress, schedulers, openApi, 200, 200, 200)));
        Assert.That(
            server.Stats.UnknownPaths,
            Has.Count.EqualTo(new[] { ping, pendingTasks, progress, schedulers, openApi }.Count(status => status == 404)));

        async Task<int> StatusAsync(string path)
        {
            using var response = await server.Client.GetAsync(path);
            return (int)response.StatusCode;
        }
    }

    [TestCase("forge", 200, 404)]
    [TestCase("a1111", 404, 200)]
    [TestCase("sdcpp", 404, 404)]
    [TestCase("koboldcpp", 404, 404)]
    public async Task Extras_AreThoseOfTheKind(string kind, int modules, int vae)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));
        var extras = modules == 200 || vae == 200 ? 200 : 404;

        foreach (var (path, expected) in new[]
        {
            ("upscalers", extras), ("latent-upscale-modes", extras), ("loras", extras), ("embeddings", extras), ("sd-modules", modules),
            ("sd-vae", vae),
        })
        {
            using var response = await server.Client.GetAsync($"sdapi/v1/{path}");
            Assert.That((int)response.StatusCode, Is.EqualTo(expected), path);
        }

        using var upscaled = await server.Client.PostAsJsonAsync("sdapi/v1/extra-single-image", new { image = "" });
        Assert.That((int)upscaled.StatusCode, Is.EqualTo(extras == 200 ? 500 : 404), "500: no image in it");
    }

    [TestCase("forge", 500, "message")]
    [TestCase("neo", 500, "message")]
    [TestCase("forge-classic", 500, "errors")]
    [TestCase("a1111-old", 500, "errors")]
    [TestCase("a1111", 500, "errors")]
    [TestCase("sdnext", 500, "errors")]
    [TestCase("sdcpp", 500, "message")]
    [TestCase("koboldcpp", 200, "images")]
    public async Task Failure_HasTheFormOfTheKind(string kind, int status, string field)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));

        using var response = await server.GenerateAsync($"[fault:{SimulatorFaults.ServerError}]");

        using var body = JsonDocument.Parse(await response.Content.ReadAsStreamAsync());
        Assert.That((int)response.StatusCode, Is.EqualTo(status));
        Assert.That(body.RootElement.GetProperty(field).ToString(), kind == "koboldcpp" ? Is.EqualTo("[\"\"]") : Does.Contain("mat1"));
    }

    [TestCase("forge", 500, Description = "after generating")]
    [TestCase("neo", 200)]
    [TestCase("a1111", 200)]
    [TestCase("koboldcpp", 200)]
    [TestCase("forge-classic", 404)]
    [TestCase("a1111-old", 404)]
    [TestCase("sdnext", 404)]
    [TestCase("sdcpp", 400)]
    public async Task UnknownSampler_IsReplacedRefusedOrFails(string kind, int expected)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));

        var (status, answer) = await server.SendAsync(
            HttpMethod.Post, "sdapi/v1/txt2img", """{"prompt":"a","width":64,"height":64,"steps":2,"sampler_name":"Oyler"}""");

        Assert.That((int)status, Is.EqualTo(expected));
        if (expected == 200 && kind != "koboldcpp")
            Assert.That(Info(answer).GetProperty("sampler_name").GetString(), Is.EqualTo("Euler"));
    }

    [TestCase("forge", 200)]
    [TestCase("a1111", 500)]
    [TestCase("forge-classic", 500)]
    [TestCase("sdnext", 200)]
    [TestCase("sdcpp", 200)]
    public async Task ForgesOwnOption_IsAnErrorWhereOptionsAreChecked(string kind, int expected)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));

        using var response = await server.GenerateAsync(overrides: new { forge_additional_modules = new[] { "ae.safetensors" } });

        Assert.That((int)response.StatusCode, Is.EqualTo(expected));
    }

    [TestCase("a1111-old")]
    [TestCase("sdnext")]
    public async Task TaskIds_AreIgnored_WhereTheKindHasNone(string kind)
    {
        await using var server = await StartAsync(profile: SimulatorProfile.Named(kind));
        var asked = server.GenerateAsync($"[fault:{SimulatorFaults.Stalled}]", "a");
        await Until.TrueAsync(
            async () => (await server.GetAsync("sdapi/v1/progress")).GetProperty("progress").GetDouble() > 0.5, "stalled");

        var own = await server.TaskProgressAsync("a");
        await server.InterruptAsync();
        using var response = await asked;

        Assert.Multiple(() =>
        {
            Assert.That(
                (own.GetProperty("active").GetBoolean(), own.GetProperty("queued").GetBoolean(), own.GetProperty("completed").GetBoolean()),
                Is.EqualTo((false, false, false)));
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(server.Stats.Interrupts, Is.EqualTo(new[] { "a" }));
        });
    }

    [Test]
    public async Task OpenApi_TellsWhetherTaskIdsAreTaken()
    {
        await using var forge = await StartAsync();
        await using var sdnext = await StartAsync(profile: SimulatorProfile.SdNext);

        Assert.That(
            await forge.Client.GetStringAsync("openapi.json"), Does.Contain("force_task_id").And.Contain("/internal/pending-tasks"));
        Assert.That(
            await sdnext.Client.GetStringAsync("openapi.json"),
            Does.Not.Contain("force_task_id").And.Not.Contain("/internal/pending-tasks"));
    }

    [Test]
    public async Task KoboldCpp_RefusesWhileItGenerates_AndHoldsPostsToUnknownPaths()
    {
        await using var server = await StartAsync(profile: SimulatorProfile.KoboldCpp);
        var generating = server.GenerateAsync($"[fault:{SimulatorFaults.Hang}]");
        await Until.TrueAsync(() => server.Stats.Started.Count == 1, "it generates");

        using var busy = await server.GenerateAsync();
        var held = server.Client.PostAsync("internal/progress", new StringContent("{}"));
        await Until.TrueAsync(() => server.Stats.UnknownPaths.Contains("POST /internal/progress"), "it has been asked");
        var wasHeld = !held.IsCompleted;
        server.Mend();
        var generated = await GeneratedAsync(generating);
        using var notThere = await held;

        Assert.Multiple(() =>
        {
            Assert.That(busy.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(wasHeld, Is.True);
            Assert.That(notThere.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
            Assert.That(generated.GetProperty("info").GetString(), Is.Empty);
        });
    }

    [Test]
    public async Task SdCpp_GoesOn_WhateverIsAskedOfIt()
    {
        await using var server = await StartAsync(profile: SimulatorProfile.SdCpp);
        var generating = server.GenerateAsync(
            $"[fault:{SimulatorFaults.Hang}]", overrides: new { sd_model_checkpoint = "flux1-schnell-fp8" });
        await Until.TrueAsync(() => server.Stats.Started.Count == 1, "it generates");

        using var interrupt = await server.Client.PostAsync("sdapi/v1/interrupt", null);
        server.Mend();
        var generated = await GeneratedAsync(generating);

        Assert.That(interrupt.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(server.Stats.Generated, Is.EqualTo(1));
        Assert.That(
            Info(generated).GetProperty("sd_model_name").GetString(),
            Is.EqualTo("flux1-dev-bnb-nf4-v2.safetensors"),
            "the one it was started with");
    }

    [Test]
    public void Named_ListsTheKinds_WhenThereIsNone() =>
        Assert.That(() => SimulatorProfile.Named("comfy"), Throws.ArgumentException.With.Message.Contain("koboldcpp"));
}
