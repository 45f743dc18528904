using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue.Eta;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The estimate's formula, term by term.</summary>
[Category(Categories.Fast)]
internal sealed class EtaTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly GenerationSettings Defaults = new ForgeOptions().Defaults;

    [Test]
    public void Of_IsNull_WhenNoImageWasGenerated() => Assert.That(Basis([], [], 1).Of(Queued(512), 1, Now), Is.Null);

    [Test]
    public void Of_IsNull_WhenNoBackendIsHealthy() => Assert.That(Basis([Took(512, 4)], [], 0).Of(Queued(512), 1, Now), Is.Null);

    [Test]
    public void Of_IsNull_WhenTheRequestIsCancelled() =>
        Assert.That(Basis([Took(512, 4)], [], 1).Of(Message("cancelled", 512), 0, Now), Is.Null);

    [Test]
    public void Of_IsTheImagesOwnTime_WhenABackendIsFree() =>
        Assert.That(
            Basis([Took(512, 4), Took(512, 5), Took(512, 9)], [], 1).Of(Queued(512), 1, Now),
            Is.EqualTo(5),
            "the median of similar images");

    [Test]
    public void Of_GrowsWithTheImage_WhenNoneOfItsSizeWasGenerated() =>
        Assert.That(Basis([Took(512, 4)], [], 1).Of(Queued(1024), 1, Now), Is.EqualTo(16), "four times the pixels");

    [Test]
    public void Of_UsesImagesOfSimilarSize_WhenThereAreThree()
    {
        var basis = Basis([Took(256, 3), Took(256, 3), Took(256, 3), Took(1024, 20), Took(1024, 20), Took(1024, 20)], [], 1);
        Assert.That(basis.Of(Queued(1024), 1, Now), Is.EqualTo(20));
        Assert.That(basis.Of(Queued(256), 1, Now), Is.EqualTo(3));
    }

    [Test]
    public void Of_UsesTheModelsImages_WhenThereAreAny()
    {
        var basis = Basis([Took(512, 4), Took(512, 12, "flux-dev")], [], 1);
        Assert.That(basis.Of(Queued(512, "Flux-Dev"), 1, Now), Is.EqualTo(12));
        Assert.That(basis.Of(Queued(512), 1, Now), Is.EqualTo(4));
        Assert.That(basis.Of(Queued(512, "unknown"), 1, Now), Is.EqualTo(8), "all images");
    }

    [Test]
    public void Of_CountsDown_WhileImagesAreGenerated()
    {
        var basis = Basis([Took(512, 10)], [new RunningGeneration(7, Work(512), 0.4, Now)], 1);
        Assert.That(basis.Of(Message("processing", 512, progress: 40) with { Id = 7 }, 0, Now), Is.EqualTo(6));
        Assert.That(basis.Of(Message("processing", 512, progress: 40) with { Id = 7 }, 0, Now.AddSeconds(2)), Is.EqualTo(4));
        Assert.That(
            basis.Of(Message("processing", 512, progress: 70) with { Id = 7 }, 0, Now.AddSeconds(2)),
            Is.EqualTo(3),
            "newer than what was read");
        Assert.That(basis.Of(Queued(512), 1, Now), Is.EqualTo(16));
        Assert.That(basis.Of(Queued(512), 1, Now.AddSeconds(2)), Is.EqualTo(14), "counts down between two reads");
        Assert.That(basis.Of(Queued(512), 1, Now.AddSeconds(60)), Is.EqualTo(10), "never less than nothing");
    }

    [TestCase(1, 1, ExpectedResult = 10)]
    [TestCase(3, 1, ExpectedResult = 30)]
    [TestCase(2, 2, ExpectedResult = 10)]
    [TestCase(3, 2, ExpectedResult = 20)]
    [TestCase(100_000, 1, ExpectedResult = 1_000_000)]
    [TestCase(100_000, 7, ExpectedResult = 142_860)]
    public double? Of_SharesEarlierRequests_AmongBackends(int position, int slots) =>
        Basis([Took(512, 10)], [], slots).Of(Queued(512), position, Now);

    [Test]
    public void Of_UsesTheBackendThatIsFreeFirst()
    {
        RunningGeneration[] running = [new(7, Work(512), 0.9, Now), new(8, Work(512), 0.2, Now)];
        var basis = Basis([Took(512, 10)], running, 2);
        Assert.That(
            new[] { 1, 2, 3, 4 }.Select(position => basis.Of(Queued(512), position, Now)), Is.EqualTo(new double?[] { 11, 18, 21, 28 }));
    }

    /// <summary>A thousand GPUs at once, against the formula spelled out.</summary>
    [Test]
    public void Of_IsExact_WithAThousandBackends()
    {
        const int slots = 1000;
        var random = new Random(5);
        var running = Enumerable.Range(1, 900)
            .Select(i => new RunningGeneration(i, Work(512), Math.Round(random.NextDouble(), 2), Now))
            .ToList();
        var basis = Basis([Took(512, 10)], running, slots);
        var free = new PriorityQueue<double, double>();
        foreach (var seconds in running.Select(image => (1 - image.Progress) * 10).Concat(Enumerable.Repeat(0.0, 100)))
            free.Enqueue(seconds, seconds);

        for (var position = 1; position <= 6000; position++)
        {
            var turn = free.Dequeue();
            free.Enqueue(turn + 10, turn + 10);
            if (position <= 100 || position % 37 == 0)
                Assert.That(basis.Turn(position, Queued(512), Now)!.Value.In, Is.EqualTo(turn).Within(1e-6), $"position {position}");
        }
    }

    [Test]
    public void Of_IsAtMostTheTimeout_WhenATinyImageWasSlow()
    {
        var basis = new EtaBasis([Took(64, 30)], [], [null], Now) { Defaults = Defaults, Limit = TimeSpan.FromSeconds(180) };

        Assert.That(basis.Of(Queued(1024), 1, Now), Is.EqualTo(180), "not 7,680");
        Assert.That(basis.Of(Message("processing", 1024, progress: 50), 0, Now), Is.EqualTo(90));
    }

    [Test]
    public void Of_FollowsTheImagesOwnPace_WhenItHasOne()
    {
        var slow = new RunningGeneration(7, Work(1024), -1, Now).At(0, Now).At(0.1, Now.AddSeconds(60)).At(0.5, Now.AddSeconds(65.2));
        var basis =
            new EtaBasis([Took(64, 30)], [slow], [null], Now.AddSeconds(65.2)) { Defaults = Defaults, Limit = TimeSpan.FromSeconds(180) };
        var message = Message("processing", 1024, progress: 50) with { Id = 7 };

        Assert.That(basis.Of(message, 0, Now.AddSeconds(65.2)), Is.EqualTo(6.5), "13 s a whole image, whatever its model's loading took");
        Assert.That(basis.Of(message, 0, Now.AddSeconds(67.2)), Is.EqualTo(4.5));
        Assert.That(
            basis.Of(
                message with { ExtraMetadata = message.ExtraMetadata.Replace("50", "90", StringComparison.Ordinal) },
                0,
                Now.AddSeconds(70.4)),
            Is.EqualTo(1.3));
    }

    [Test]
    public void Of_IsNull_WhenNoUsableBackendCanGenerateIt()
    {
        var basis = new EtaBasis([Took(512, 4)], [], [null], Now) { Defaults = Defaults, IsPossible = (_, _) => false };

        Assert.That(basis.Of(Queued(512), 1, Now), Is.Null);
        Assert.That(basis.Of(Message("processing", 512, progress: 50), 0, Now), Is.EqualTo(2), "what is generated goes on");
    }

    /// <summary>A slow backend's image is told the slow backend's time, not the pool's.</summary>
    [Test]
    public void Of_FollowsTheBackend_WhenItGenerates()
    {
        var image = new RunningGeneration(7, Work(512), 0.07, Now, "slow");
        var message = Message("processing", 512, progress: 7) with { Id = 7, Backend = "slow" };

        Assert.That(FastAndSlow(image).Of(message, 0, Now), Is.EqualTo(37.2));
        Assert.That(FastAndSlow().Of(message, 0, Now), Is.EqualTo(37.2), "not read yet");
        Assert.That(FastAndSlow().Of(message with { Backend = "fast" }, 0, Now), Is.EqualTo(3.7));
    }

    [Test]
    public void Of_FollowsTheBackendOfItsTurn_WhenItWaits()
    {
        Assert.That(
            Enumerable.Range(1, 13).Select(position => FastAndSlow().Of(Queued(512), position, Now)),
            Is.EqualTo(new double?[] { 4, 40, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 80 }));
        Assert.That(FastAndSlow(new RunningGeneration(7, Work(512), 0.5, Now, "slow")).Of(Queued(512), 2, Now), Is.EqualTo(8));
        var elsewhere = new RunningGeneration(7, Work(512), 0.5, Now, "paused");
        Assert.That(FastAndSlow(elsewhere).Of(Queued(512), 1, Now), Is.EqualTo(4), "a paused backend's image keeps no other one busy");
    }

    [Test]
    public void Of_IsOfTheBackendThatMayGenerateIt()
    {
        var basis = new EtaBasis(
            [Took(512, 4, backend: "fast"), Took(512, 4, backend: "fast"), Took(512, 40, backend: "slow")],
            [new RunningGeneration(7, Work(512), 0.5, Now, "slow")],
            ["fast", "slow"],
            Now)
        {
            Defaults = Defaults,
            IsPossible = (_, backend) => backend == "slow",
        };

        Assert.That(basis.Of(Queued(512), 1, Now), Is.EqualTo(60), "when the slow one is free, and its own time");
    }

    [Test]
    public void SecondsPerImage_IsTheMean() =>
        Assert.That(Basis([Took(512, 4), Took(512, 5)], [], 1).SecondsPerImage, Is.EqualTo(4.5));

    private static EtaBasis Basis(IReadOnlyList<CompletedGeneration> generated, IReadOnlyList<RunningGeneration> running, int slots) =>
        new(generated, running, new string?[slots], Now) { Defaults = Defaults };

    private static EtaBasis FastAndSlow(params IReadOnlyList<RunningGeneration> running) =>
        new([.. Enumerable.Repeat(Took(512, 4, backend: "fast"), 9), Took(512, 40, backend: "slow")], running, ["slow", "fast"], Now)
        {
            Defaults = Defaults,
        };

    private static CompletedGeneration Took(int side, double seconds, string? checkpoint = null, string? backend = null) =>
        new(Work(side, checkpoint), seconds, backend);

    private static GenerationWork Work(int side, string? checkpoint = null) => new(20.0 * side * side, checkpoint);

    internal static Message Queued(int side, string? checkpoint = null) => Message("queued", side, checkpoint);

    private static Message Message(string status, int side, string? checkpoint = null, int progress = 0) => new()
    {
        Id = 1,
        ConversationId = "c",
        Role = MessageRole.Bot,
        Content = "",
        ExtraMetadata = $$$"""
            {"status":"{{{status}}}","progress":{{{progress}}},
                "settings":{"width":{{{side}}},"height":{{{side}}},"steps":20
                    {{{(checkpoint is null ? "" : $",\"checkpoint\":\"{checkpoint}\"")}}}}}
            """,
        CreatedAt = Now,
        UpdatedAt = Now,
        QueuedAt = Now,
        Attempt = 0,
        Revision = 1,
    };
}
