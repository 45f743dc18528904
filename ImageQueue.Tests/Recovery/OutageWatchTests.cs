using ImageQueue.Core.Forge;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

/// <summary>When waiting requests end since there has been no backend for too long.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class OutageWatchTests
{
    private const int PageSize = 200;

    /// <summary>Thousands take minutes to end; those that still wait can be generated.</summary>
    [TestCase("a backend returns")]
    [TestCase("an operator pauses the queue")]
    public async Task Look_EndsNoMore_WhenSomethingChangesMeanwhile(string what)
    {
        var time = new FakeTimeProvider(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));
        FaultyStore faulty = null!; // Set before the bench is there.
        await using var bench = await Bench.CreateAsync(
            time, new() { ["Forge:WaitForBackend"] = "00:05:00" }, store => (faulty = FaultyStore.Around(store)).Store);
        for (var i = 0; i < PageSize + 1; i++)
            await bench.AddRowAsync();
        var watch = bench.Get<OutageWatch>();
        Assert.That(await watch.LookAsync(CancellationToken.None), Is.Zero);
        time.Advance(TimeSpan.FromMinutes(6));
        faulty.After("FailQueuedAsync", async () =>
        {
            if (what == "a backend returns")
                await bench.Store.AcquireLeasesAsync("other", [$"{ForgeAddress.LeasePrefix}gpu"], TimeSpan.FromMinutes(1), default);
            else
                await bench.Store.PauseAsync("queue", "operator", CancellationToken.None);
        });

        Assert.That(await watch.LookAsync(CancellationToken.None), Is.EqualTo(PageSize));

        Assert.That(await bench.Store.ListWaitingAsync(null, 10, CancellationToken.None), Has.Count.EqualTo(1));
    }
}
