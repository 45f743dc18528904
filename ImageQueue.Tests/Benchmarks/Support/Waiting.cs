using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>A long queue.</summary>
internal static class Waiting
{
    /// <summary>
    /// Leaves a database with so many queued requests, as a process that was killed leaves it: no job of theirs is there.
    /// </summary>
    public static async Task FillAsync(BenchmarkStorage storage, int count)
    {
        await using var open = storage.Open(new AsyncSignal());
        await open.Store.SubmitAsync(
            new NewImageMessage(
                "benchmark",
                "ayşe",
                Guid.NewGuid().ToString("N"),
                "a red rose",
                new JsonObject { ["width"] = 64, ["height"] = 64, ["steps"] = 4 },
                1,
                null),
            UserLimits.None,
            CancellationToken.None);
        await storage.FillAsync(count - 1);
    }

    /// <summary>Until a start has put them all into the queue.</summary>
    public static Task UntilEnqueuedAsync(TestApp app, int count)
    {
        var (order, rebuilding) = (app.Services.GetRequiredService<IQueueOrder>(), app.Services.GetRequiredService<QueueRebuildState>());
        return Until.TrueAsync(
            async () =>
                !rebuilding.IsUnderWay
                    && (await order.GetAsync(CancellationToken.None))
                        .Count >= count, "all that wait are enqueued", TimeSpan.FromMinutes(2));
    }
}
