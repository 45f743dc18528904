using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// A day in the life, at high speed: 10,000 requests in three rushes from people who ask now and then, people who try one prompt in
/// many ways, and a script; some change their mind, some send the same twice, some watch. Four simulated backends generate, a
/// hundred times as quick as real ones.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~DayBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: takes minutes.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class DayBenchmark(string storageName)
{
    private const int Requests = 10_000;
    private const int Backends = 4;
    private const double SecondsPerImage = 0.12; // Of 1024x1024 and 20 steps.
    private const int Watchers = 50;

    private static readonly int[] Sizes = [256, 384, 512];
    private static readonly int[] Steps = [12, 20, 30];

    private readonly Random _random = new(1);

    [Test]
    public async Task MixedCrowd_LosesNothing()
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var forges = new SimulatorServer[Backends];
        for (var i = 0; i < Backends; i++)
            forges[i] = await SimulatorServer.StartAsync(SecondsPerImage);
        var settings = SimulatorServer.Settings(forges);
        foreach (var (key, value) in storage.Settings)
            settings[key] = value;
        (settings["Queue:MaxPendingPerUser"], settings["Forge:PollInterval"]) = ("10000", "00:00:00.5");
        await using (var app = await TestApp.StartAsync(settings, storage.Folder, configure: builder => builder.Logging.ClearProviders()))
            await LiveAsync(app, forges);
        foreach (var forge in forges)
            await forge.DisposeAsync();
    }

    private async Task LiveAsync(TestApp app, SimulatorServer[] forges)
    {
        var crowd = Enumerable.Range(0, Requests).Select(Ask).ToList();
        // As much in all as four that never idle can do, so that a line is there for most of the day.
        var day = TimeSpan.FromSeconds(crowd.Sum(one => one.Seconds) / Backends);
        var watchers = new List<Watcher>();
        for (var i = 0; i < Watchers; i++)
        {
            watchers.Add(
                await Watcher.ConnectAsync(app.Address, new Latencies(), string.Create(CultureInfo.InvariantCulture, $"person-{i}")));
        }

        var began = Stopwatch.GetTimestamp();
        var asked = new List<Task<Asked?>>();
        for (var i = 0; i < Requests; i++)
        {
            var ofDay = (double)i / Requests;
            var due = day * (ofDay + (0.05 * Math.Sin(6 * Math.PI * ofDay)));
            if (due - Stopwatch.GetElapsedTime(began) is { TotalMilliseconds: > 1 } early)
                await Task.Delay(early);
            asked.Add(SubmitAsync(app, crowd[i]));
        }

        var all = (await Task.WhenAll(asked)).OfType<Asked>().ToList();
        var store = app.Services.GetRequiredService<IMessageStore>();
        await Until.TrueAsync(
            async () =>
                await store.CountAsync(MessageStatus.Queued, default) + await store.CountAsync(
                    MessageStatus.Processing, default) == 0, "all have ended", TimeSpan.FromMinutes(10));
        var took = Stopwatch.GetElapsedTime(began).TotalSeconds;
        foreach (var watcher in watchers)
            watcher.Dispose();

        Report(all, took, forges, await EndsAsync(store, all));
    }

    private void Report(List<Asked> all, double took, SimulatorServer[] forges, Dictionary<long, Message> ends)
    {
        var lost = all.Count(
            one => ends[one.Id].Status is not (MessageStatus.Complete or MessageStatus.Cancelled)) + (Requests - all.Count);
        var complete = ends.Values.Where(message => message.Status == MessageStatus.Complete).ToList();
        var received = forges.SelectMany(forge => forge.Stats.Received).ToList();
        // An image has it.
        var twice = complete.Count(
            message => received.Count(request => request.Task.StartsWith(message.JobId!, StringComparison.Ordinal)) != 1);
        var generating = received.Sum(request => request.AnsweredAtMs - request.StartedAtMs) / 1000 ?? 0;

        // Estimates of those that waited for a while, by when their images were there.
        var estimated = all.Where(one => one.Eta is not null && ends[one.Id].Status == MessageStatus.Complete)
            .Select(one => (one.Eta, one.Position, Took: (ends[one.Id].UpdatedAt - one.At).TotalSeconds))
                .Where(one => one.Took > 2)
                .ToList();
        var mean = generating / received.Count;
        var errors = estimated.Select(one => Math.Abs(one.Eta!.Value - one.Took) / one.Took * 100).ToList(); // Those without were left out.
        var simple = estimated.Select(one => Math.Abs((one.Position * mean / Backends) - one.Took) / one.Took * 100).ToList();

        var what = FormattableString.Invariant($"a day of {Requests:n0} requests, {Backends} backends, {storageName}");
        BenchmarkTable.Add($"{what}: lost, or generated twice", "requests", lost + twice, bar: Bar.AtMost(0, "requests"));
        BenchmarkTable.Add(
            $"{what}: generated",
            "/s",
            complete.Count / took,
            new Baseline("backends that never idle", [received.Count / generating * Backends]));
        BenchmarkTable.Add(
            $"{what}: GPU idle, images of {mean * 1000:0} ms".ToString(CultureInfo.InvariantCulture),
            "%",
            100 - (generating / Backends / took * 100));
        if (errors.Count > 0)
        {
            BenchmarkTable.Add(
                $"{what}: error of eta_seconds",
                "%",
                BenchmarkTable.Median(errors),
                new Baseline("position x the day's mean", [BenchmarkTable.Median(simple)]));
        }

        Assert.That((lost, twice), Is.EqualTo((0, 0)), "requests lost, and generated twice");
    }

    /// <summary>One request of the day.</summary>
    private DayRequest Ask(int i)
    {
        var (size, steps) = (Sizes[_random.Next(Sizes.Length)], Steps[_random.Next(Steps.Length)]);
        var seconds = SecondsPerImage * size * size * steps / (1024.0 * 1024 * 20);
        var who = _random.NextDouble() switch
        {
            < 0.7 => string.Create(CultureInfo.InvariantCulture, $"person-{_random.Next(400)}"),
            < 0.95 => string.Create(CultureInfo.InvariantCulture, $"artist-{i / 500}"),
            _ => "script",
        };
        return new DayRequest(i, who, size, steps, seconds, ChangesMind: _random.Next(20) == 0, SendsTwice: _random.Next(20) == 0);
    }

    /// <returns>Null when it was not accepted.</returns>
    private static async Task<Asked?> SubmitAsync(TestApp app, DayRequest one)
    {
        var first = await SendAsync(app, one);
        if (one.SendsTwice && first is not null && (await SendAsync(app, one))?.Id != first.Id)
            return null;
        if (one.ChangesMind && first is not null)
        {
            using var cancelled = await app.Http.PostAsync(
                string.Create(CultureInfo.InvariantCulture, $"api/messages/{first.Id}/cancel"), null);
            // A backend may be generating it, or have finished.
            Assert.That(cancelled.StatusCode, Is.AnyOf(HttpStatusCode.OK, HttpStatusCode.Conflict));
        }

        return first;
    }

    private static async Task<Asked?> SendAsync(TestApp app, DayRequest one)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"api/conversations/{one.Who}/images");
        request.Headers.Add("Idempotency-Key", string.Create(CultureInfo.InvariantCulture, $"request-{one.Number}"));
        request.Content = JsonContent.Create(
            new { username = one.Who, prompt = $"image {one.Number}", width = one.Size, height = one.Size, steps = one.Steps });
        using var answer = await app.Http.SendAsync(request);
        if (answer.StatusCode != HttpStatusCode.Accepted)
            return null;
        var message = await TestApp.ReadAsync(answer);
        var queue = message["queue"] as JsonObject;
        return new Asked(
            (long)message["id"]!, TimeProvider.System.GetUtcNow(), (double?)queue?["eta_seconds"], (int?)queue?["position"] ?? 1);
    }

    private static async Task<Dictionary<long, Message>> EndsAsync(IMessageStore store, List<Asked> all)
    {
        var ends = new Dictionary<long, Message>();
        foreach (var one in all)
            ends[one.Id] = (await store.FindAsync(one.Id, CancellationToken.None))!; // It was accepted, and no test erases.
        return ends;
    }

    private sealed record DayRequest(int Number, string Who, int Size, int Steps, double Seconds, bool ChangesMind, bool SendsTwice);

    private sealed record Asked(long Id, DateTimeOffset At, double? Eta, int Position);
}
