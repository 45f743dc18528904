using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Submits over HTTP, with checks, limits, positions and all, against an endpoint that does one INSERT and one Hangfire enqueue. No backend
/// generates, so requests wait; clients and server share the machine.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~SubmitBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints requests a second.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class SubmitBenchmark(string storageName)
{
    private static readonly Dictionary<string, string?> NoBackend = new()
    {
        ["Forge:Backends:0:Url"] = "http://127.0.0.1:9",
        ["Queue:MaxLength"] = "1000000",
        ["Queue:MaxPendingPerUser"] = "1000000",
    };

    private int _sent;

    [TestCase(1, 300)]
    [TestCase(32, 1500)]
    public async Task Submit_AgainstABareEndpoint(int clients, int requests)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var app = await TestApp.StartAsync(
            new Dictionary<string, string?>(NoBackend.Concat(storage.Settings)), storage.Folder, configure: builder =>
                builder.Logging.ClearProviders());
        await using var others = await BenchmarkStorage.CreateAsync(storageName);
        await using var bare = await BareApp.StartAsync(others);
        using var http = new HttpClient { BaseAddress = bare.Address };

        var rounds = await Rounds.ByTurnsAsync(
            Rounds.Count,
            () => Rounds.PaceAsync(requests, clients, _ => SubmitAsync(app.Http)),
            () => Rounds.PaceAsync(requests, clients, _ => SubmitAsync(http)));

        var what = $"submit over HTTP, {clients} {(clients == 1 ? "client" : "clients")}, {storageName}";
        const string baseline = "one INSERT, one enqueue";
        BenchmarkTable.Add(
            what,
            "/s",
            [.. rounds[0].Select(pace => pace.PerSecond)],
            new Baseline(baseline, [.. rounds[1].Select(pace => pace.PerSecond)]),
            Bar.RatioAtLeast(0.7));
        BenchmarkTable.Add(
            $"{what}: p50",
            "ms",
            [.. rounds[0].Select(pace => pace.Median)],
            new Baseline(baseline, [.. rounds[1].Select(pace => pace.Median)]));
        BenchmarkTable.Add(
            $"{what}: p99", "ms", [.. rounds[0].Select(pace => pace.P99)], new Baseline(baseline, [.. rounds[1].Select(pace => pace.P99)]));
        BenchmarkTable.Add(
            $"{what}: p99",
            "ms",
            [.. rounds[0].Select(pace => pace.P99)],
            new Baseline("its own p50", [.. rounds[0].Select(pace => pace.Median)]),
            Bar.RatioAtMost(3));
    }

    [Test]
    public async Task Submit_AtALongQueue_AgainstAnEmptyOne()
    {
        const int waiting = 100_000;
        const int burst = 500;
        await using var full = await BenchmarkStorage.CreateAsync(storageName);
        await Waiting.FillAsync(full, waiting);
        await using var empty = await BenchmarkStorage.CreateAsync(storageName);
        await using var many = await TestApp.StartAsync(
            new Dictionary<string, string?>(NoBackend.Concat(full.Settings)), full.Folder, configure: builder =>
                builder.Logging.ClearProviders());
        await using var none = await TestApp.StartAsync(
            new Dictionary<string, string?>(NoBackend.Concat(empty.Settings)), empty.Folder, configure: builder =>
                builder.Logging.ClearProviders());
        await Waiting.UntilEnqueuedAsync(many, waiting);

        var rounds = await Rounds.ByTurnsAsync(
            Rounds.Count,
            () => Rounds.PerSecondAsync(burst, 32, _ => SubmitAsync(many.Http)),
            () => Rounds.PerSecondAsync(burst, 32, _ => SubmitAsync(none.Http)));
        BenchmarkTable.Add(
            FormattableString.Invariant(
                $"submit over HTTP, 32 clients, {waiting:n0} waiting, {storageName}"), "/s", rounds[0],
                new Baseline("next to none waiting", rounds[1]), Bar.RatioAtLeast(0.95));
    }

    private async Task SubmitAsync(HttpClient http)
    {
        var n = Interlocked.Increment(ref _sent) / 10;
        using var body = new StringContent($$"""{"username":"u{{n}}","prompt":"a red rose"}""", Encoding.UTF8, "application/json");
        using var answer = await http.PostAsync($"api/conversations/c{n}/images", body);
        if (!answer.IsSuccessStatusCode)
            Assert.Fail($"{answer.StatusCode}: {await answer.Content.ReadAsStringAsync()}");
        await answer.Content.ReadAsByteArrayAsync();
    }
}
