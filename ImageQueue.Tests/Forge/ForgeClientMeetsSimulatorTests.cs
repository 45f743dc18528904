using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>The client and the simulator were each written from Forge's source; here they meet over HTTP.</summary>
[TestFixture]
[CancelAfter(30_000)]
[Category(Categories.App)]
public sealed class ForgeClientMeetsSimulatorTests
{
    private static readonly GenerationRequest Request = new()
    {
        Prompt = "bir kedi, yağlı boya",
        Width = 64,
        Height = 96,
        Steps = 4,
        CfgScale = 1m,
        DistilledCfgScale = 3.5m,
        Sampler = "Euler",
        Scheduler = "Simple",
        Seed = 42,
    };

    private ServiceProvider _services = null!;
    private IForgeClient _client = null!;

    [SetUp]
    public void SetUp()
    {
        _services = new ServiceCollection().AddLogging().AddForgeClient().BuildServiceProvider();
        _client = _services.GetRequiredService<IForgeClient>();
    }

    [TearDown]
    public async Task TearDown() => await _services.DisposeAsync();

    [Test]
    public async Task GenerateAsync_ReturnsAWholeImage_WhenNothingFails(CancellationToken cancellationToken)
    {
        await using var server = await SimulatorServer.StartAsync();

        var image = await _client.GenerateAsync(BackendOf(server), "t", Request, cancellationToken);

        var whole = ImageCheck.ToPng(image.Bytes);
        Assert.Multiple(() =>
        {
            Assert.That((whole.Width, whole.Height), Is.EqualTo((64, 96)));
            Assert.That(image.Info?.Seed, Is.EqualTo(42));
            Assert.That(image.Info?.Model, Is.Not.Empty);
        });
    }

    [TestCase(SimulatorFaults.ServerError, ForgeFailure.Failed)]
    [TestCase(SimulatorFaults.ServerErrorOfA1111, ForgeFailure.Failed)]
    [TestCase(SimulatorFaults.OutOfMemory, ForgeFailure.OutOfMemory)]
    [TestCase(SimulatorFaults.Reset, ForgeFailure.Disrupted)]
    [TestCase(SimulatorFaults.Truncated, ForgeFailure.BadImage)]
    [TestCase(SimulatorFaults.CutImage, ForgeFailure.BadImage)]
    [TestCase(SimulatorFaults.Garbage, ForgeFailure.BadImage)]
    [TestCase(SimulatorFaults.Empty, ForgeFailure.BadImage)]
    [TestCase(SimulatorFaults.Blank, ForgeFailure.BadImage)]
    [TestCase(SimulatorFaults.NotJson, ForgeFailure.Disrupted)]
    [TestCase(SimulatorFaults.Jpeg, null)]
    [TestCase(SimulatorFaults.WebP, null)]
    [TestCase(SimulatorFaults.Invalid, ForgeFailure.Rejected)]
    [TestCase(SimulatorFaults.Rejected, ForgeFailure.Rejected)]
    [TestCase(SimulatorFaults.Unauthorized, ForgeFailure.Unavailable)]
    [TestCase(SimulatorFaults.Unavailable, ForgeFailure.Unavailable)]
    [TestCase(SimulatorFaults.Loading, ForgeFailure.Unavailable)]
    [TestCase(SimulatorFaults.Firewall, ForgeFailure.Disrupted)]
    [TestCase(SimulatorFaults.Cuda, ForgeFailure.Disrupted)]
    [TestCase(SimulatorFaults.GatewayTimeout, ForgeFailure.GatewayTimeout)]
    public async Task GenerateAsync_NamesTheFailure_WhenSimulatorIsAskedForIt(string fault, ForgeFailure? expected)
    {
        await using var server = await SimulatorServer.StartAsync();
        ForgeFailure? failure = null;
        var reason = "";
        try
        {
            var image = await _client.GenerateAsync(BackendOf(server), "t", Request with { Prompt = $"[fault:{fault}]" }, default);
            ImageCheck.ToPng(image.Bytes);
        }
        catch (ForgeException exception)
        {
            (failure, reason) = (exception.Failure, exception.Reason);
        }

        TestContext.Out.WriteLine(reason);
        Assert.That(failure, Is.EqualTo(expected), reason);
    }

    [Test]
    public async Task GetProgressAsync_FollowsTheTask_WhenItIsGeneratedAndInterrupted(CancellationToken cancellationToken)
    {
        await using var server = await SimulatorServer.StartAsync(millisecondsPerImage: 60_000);
        var backend = BackendOf(server);
        var first = _client.GenerateAsync(backend, "first", Request, cancellationToken);
        await UntilAsync("first", ForgeTaskState.Active);
        var second = _client.GenerateAsync(backend, "second", Request, cancellationToken);
        await UntilAsync("second", ForgeTaskState.Queued);

        Assert.That(await _client.InterruptAsync(backend, "second", cancellationToken), Is.False, "it would have hit the first");
        Assert.That(await _client.InterruptAsync(backend, "first", cancellationToken), Is.True);
        await Task.WhenAny(first, Task.Delay(10_000, cancellationToken));
        await UntilAsync("first", ForgeTaskState.Completed);
        await UntilAsync("second", ForgeTaskState.Active);
        Assert.That(await _client.InterruptAsync(backend, "second", cancellationToken), Is.True);
        await ((Task)Task.WhenAll(first, second)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

        Task UntilAsync(string task, ForgeTaskState state) => Until.TrueAsync(
            async () =>
                (await _client.GetProgressAsync(backend, task, withPreview: false, cancellationToken))
                    .State == state, $"{task} is {state}");
    }

    [TestCase(null, true)]
    [TestCase(SimulatorFaults.Loading, false)]
    [TestCase(SimulatorFaults.Unavailable, false)]
    [TestCase(SimulatorFaults.NoModel, false)]
    public async Task WhyUnhealthyAsync_SeesWhetherImagesCanBeGenerated_WhenServerIsUp(string? fault, bool expected)
    {
        await using var server = await SimulatorServer.StartAsync();
        if (fault is not null)
            server.Simulator.Faults.Set(fault);

        Assert.That(await _client.WhyUnhealthyAsync(BackendOf(server), default) is null, Is.EqualTo(expected));
    }

    [TestCase("forge", ForgeKind.Forge, true, true, true, true, true)]
    [TestCase("neo", ForgeKind.Forge, true, true, true, true, true)]
    [TestCase("forge-nowebui", ForgeKind.Forge, false, true, true, true, true)]
    [TestCase("forge-classic", ForgeKind.A1111, true, true, true, false, false)]
    [TestCase("a1111", ForgeKind.A1111, true, true, true, true, false)]
    [TestCase("a1111-old", ForgeKind.A1111, false, true, true, false, false)]
    [TestCase("sdnext", ForgeKind.SdNext, false, true, true, false, false)]
    [TestCase("sdcpp", ForgeKind.SdCpp, false, false, false, true, false)]
    [TestCase("koboldcpp", ForgeKind.KoboldCpp, false, false, false, false, false)]
    public async Task LearnAsync_FindsOutByGetsAlone_WhateverServerItIs(
        string profile, ForgeKind kind, bool taskIds, bool globalProgress, bool interrupt, bool scheduler, bool modules)
    {
        await using var server = await SimulatorServer.StartAsync(profile: SimulatorProfile.Named(profile));
        var backend = BackendOf(server);

        var learnt = await _client.LearnAsync(backend, default);
        var image = await _client.GenerateAsync(backend, "t", Request, default);
        var progress = await _client.GetProgressAsync(backend, "t", withPreview: false, default);

        Assert.Multiple(() =>
        {
            Assert.That(
                (learnt.Kind, learnt.TaskIds, learnt.GlobalProgress, learnt.Interrupt, learnt.Scheduler, learnt.Modules),
                Is.EqualTo((kind, (bool?)taskIds, (bool?)globalProgress, (bool?)interrupt, scheduler, (bool?)modules)));
            Assert.That(learnt.LoadedModel, Is.Not.Empty);
            Assert.That(learnt.Checkpoints.Find(learnt.LoadedModel!), Is.Not.Null);
            Assert.That(learnt.Samplers.Names, Does.Contain("Euler"));
            Assert.That(image.Bytes.Length, Is.GreaterThan(0));
            Assert.That(
                progress.Source,
                Is.EqualTo(taskIds ? ForgeProgressSource.Task : globalProgress ? ForgeProgressSource.Server : ForgeProgressSource.None));
        });
    }

    /// <summary>Forge matches exact names, and knows a checkpoint in a subfolder by several.</summary>
    [TestCase("k_euler", "simple", "flux1-dev")]
    [TestCase("euler", "SIMPLE", "flux_flux1-dev")]
    [TestCase("Euler", "kl optimal", "flux/flux1-dev.safetensors")]
    [TestCase("dpm++ 2m Karras", "Simple", "4610115bb0")]
    public async Task GenerateAsync_IsUnderstood_WhenNamesAreSpelledOtherwise(string sampler, string scheduler, string checkpoint)
    {
        await using var server = await SimulatorServer.StartAsync();
        await _client.LearnAsync(BackendOf(server), default);

        var image = await _client.GenerateAsync(
            BackendOf(server), "t", Request with { Sampler = sampler, Scheduler = scheduler, Checkpoint = checkpoint }, default);

        Assert.That((image.Info!.Model, image.ReplacedScheduler), Is.EqualTo(("flux1-dev", (string?)null)));
        Assert.That(
            image.Info.Scheduler,
            Is.EqualTo(
                sampler.EndsWith("Karras", StringComparison.Ordinal) ? "Karras" : scheduler == "kl optimal" ? "KL Optimal" : "Simple"));
    }

    private static ForgeBackend BackendOf(SimulatorServer server) => new("simulator", server.Client.BaseAddress!);
}
