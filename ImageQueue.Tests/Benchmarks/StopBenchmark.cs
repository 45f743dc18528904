using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using Microsoft.AspNetCore.SignalR.Client;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long a stop takes while 1,000 hub connections with automatic reconnect are open.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~StopBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: prints seconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class StopBenchmark(string storageName)
{
    private const int Clients = 1000;

    [Test]
    public async Task Stop_IsQuickAndClean_WhileClientsReconnect()
    {
        using var folder = new TemporaryFolder();
        await using var app = await AppProcess.StartAsync(folder.Path, forge: null, new() { ["Shutdown__DrainTimeout"] = "00:00:00" });
        var clients = Enumerable.Range(0, Clients)
            .Select(_ => new HubConnectionBuilder().WithUrl(new Uri(app.Http.BaseAddress!, "hubs/images")).WithAutomaticReconnect().Build())
                .ToList();
        foreach (var some in clients.Chunk(50))
        {
            await Task.WhenAll(some.Select(async client =>
            {
                await client.StartAsync();
                await client.InvokeAsync("Watch", "demo");
            }));
        }

        var took = await app.StopAsync();

        BenchmarkTable.Add(
            $"stop with {Clients:n0} reconnecting hub clients, {storageName}", "s", took.TotalSeconds, bar: Bar.AtMost(3, "s"));
        Assert.That(await app.ExitAsync(), Is.Zero);
        Assert.That(app.Output, Does.Not.Contain("fail:").And.Not.Contain("crit:"));
        foreach (var client in clients)
            await client.DisposeAsync();
    }
}
