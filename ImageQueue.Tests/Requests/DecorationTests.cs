using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>Positions and estimates are decoration: when they cannot be read, nothing fails for it.</summary>
[Category(Categories.Store)]
internal sealed class DecorationTests
{
    private static readonly HashSet<string> Looks = typeof(IQueueStore)
        .GetMethods()
        .Concat(typeof(ILeaseStore).GetMethods())
        .Select(method => method.Name)
        .ToHashSet(StringComparer.Ordinal);

    private Bench _bench = null!; // Set before each test.

    [SetUp]
    public async Task SetUp() =>
        _bench = await Bench.CreateAsync(
            wrap: store => FaultyStore.Around(store, (method, _) => Looks.Contains(method) ? FaultyStore.Away() : null).Store);

    [TearDown]
    public async Task TearDown() => await _bench.DisposeAsync();

    /// <summary>Seen before: 503 "nothing was changed" after the row was committed.</summary>
    [Test]
    public async Task SubmitCancelAndRetry_AreDone_WhenPositionsAndEstimatesCannotBeRead()
    {
        var submitted = await _bench.Get<SubmitImageRequest>().SubmitAsync(
            new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül" }, CancellationToken.None);
        var live = await _bench.Get<QueuePositions>().GetAsync(CancellationToken.None);

        Assert.That(submitted.Message.HangfireJobId, Is.Not.Null, "it has its job before anybody looks at the queue");
        Assert.That((live.Of(submitted.Message), live.EtaOf(submitted.Message)), Is.EqualTo((1, (double?)null)));
        Bench.Applied(await _bench.Get<CancelImageRequest>().CancelAsync(submitted.Message.Id, CancellationToken.None));
        Bench.Applied(await _bench.Get<RetryImageRequest>().RetryAsync(submitted.Message.Id, CancellationToken.None));
    }
}
