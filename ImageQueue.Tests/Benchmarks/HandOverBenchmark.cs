using ImageQueue.Core.Messages;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long Forge idles between two requests while many wait: from its answer to the next request's arrival.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~HandOverBenchmark -- NUnit.ExplicitMode=Only</c>.
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

        var stats = await TestApp.ReadAsync(await app.Http.GetAsync("simulator/stats"));
        TestContext.Out.WriteLine(stats.ToJsonString()[..600]);
    }
}
