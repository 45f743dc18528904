using ImageQueue.Core.Messages;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long Forge idles between two requests while many wait: from its answer to the next request's arrival.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~HandOverBenchmark -l "console;verbosity=detailed"</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: prints milliseconds.")]
[Category("Benchmark")]
internal sealed class HandOverBenchmark
{
    [TestCase(1024)]
    [TestCase(512)]
    public async Task Forge_GetsTheNextRequest_SoonAfterItsAnswer(int size)
    {
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Simulator:SecondsPerImage"] = "0.3",
            ["Forge:PollInterval"] = "00:00:00.5",
            ["Queue:MaxPendingPerUser"] = "1000",
        });
        var last = 0L;
        for (var i = 0; i < 51; i++)
            last = (long)(await app.SubmitAsync($"picture {i}", more: new { width = size, height = size }))["id"]!;
        await app.WaitForAsync(last, MessageStatus.Complete);

        // Of the simulator's own clock: when an answer was ready to be sent, and when the next request had come in.
        var received = app.Services.GetRequiredService<ForgeSimulator>().Stats.Snapshot().Received;
        var idle = received.Zip(received.Skip(1), (one, next) => next.AtMs - one.AnsweredAtMs!.Value).Order().ToList();
        TestContext.Out.WriteLine(
            $"{size}x{size}, {received.Count} pictures: Forge idles {idle[idle.Count / 2]:0.0} ms between two requests (median, at most 20), p90 {idle[idle.Count * 9 / 10]:0.0} ms");
    }
}
