using ImageQueue.Core.Queue.Eta;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>A simulated day of requests: what estimate they got when they came, and how long it took.</summary>
[Category(Categories.Fast)]
internal sealed class EtaDayTests
{
    private const int Day = 24 * 3600;

    private static readonly DateTimeOffset Midnight = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>A steady mix: sizes, steps and two models, and times that scatter by a tenth.</summary>
    private static readonly (double Share, GenerationWork Work, double Seconds)[] Mix =
    [
        (0.25, new GenerationWork(20.0 * 512 * 512, null), 4.5),
        (0.45, new GenerationWork(20.0 * 1024 * 1024, null), 13.5),
        (0.15, new GenerationWork(28.0 * 1024 * 768, null), 14.5),
        (0.15, new GenerationWork(20.0 * 1024 * 1024, "flux-dev"), 31),
    ];

    [TestCase(1, 1)]
    [TestCase(2, 3)]
    [TestCase(4, 8)]
    public void Eta_IsRightWithinAFifth_ForAtLeastHalfOfASteadyDay(int slots, int seed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var errors = Simulate(slots, new Random(seed));
        var median = Median([.. errors.Select(error => error.Relative)]);
        TestContext.Out.WriteLine(
            FormattableString.Invariant($"{slots} slots, {errors.Count} requests, median absolute error {median:P1}"));
        foreach (var group in errors.GroupBy(error => error.Position switch { 1 => "1", <= 5 => "2..5", <= 20 => "6..20", _ => "beyond" })
            .OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            TestContext.Out.WriteLine(
                FormattableString.Invariant(
                    $"  position {group.Key}: {group.Count()} requests, {Median([.. group.Select(error => error.Relative)]):P1}"));
        }

        Assert.That(median, Is.LessThanOrEqualTo(0.2));
    }

    private static List<(int Position, double Relative)> Simulate(int slots, Random random)
    {
        var meanSeconds = Mix.Sum(kind => kind.Share * kind.Seconds);
        var waiting = new Queue<Request>();
        var running = new List<Request>();
        var generated = new List<CompletedGeneration>();
        var told = new List<(Request Request, int Position, double Eta)>();
        var ended = new Dictionary<Request, double>();
        var (now, nextArrival, arrived) = (0.0, 0.0, 0);
        while (now < Day || running.Count + waiting.Count > 0)
        {
            while (running.Count < slots && waiting.TryDequeue(out var next))
            {
                next.Start = now;
                running.Add(next);
            }

            var nextEnd = running.Count == 0 ? double.MaxValue : running.Min(request => request.Start + request.Seconds);
            if (nextEnd <= nextArrival || now >= Day)
            {
                now = nextEnd;
                var done = running.First(request => request.Start + request.Seconds <= nextEnd);
                running.Remove(done);
                generated.Add(new CompletedGeneration(done.Work, done.Seconds));
                ended[done] = now;
                continue;
            }

            now = nextArrival;
            var request = NewRequest(now, random);
            // As many estimates for each number of slots.
            if (generated.Count > 0 && ++arrived % slots == 0)
            {
                var at = Midnight.AddSeconds(now);
                var basis = new EtaBasis(
                    [.. generated.TakeLast(100)], [.. running.Select(other => other.AsSeen(now, random))], new string?[slots], at);
                var position = waiting.Count + 1;
                told.Add((request, position, basis.Turn(position, EtaTests.Queued(512), at)!.Value.In + basis.Time(request.Work)));
            }

            waiting.Enqueue(request);

            // Quiet at night, a bit more than can be generated in the evening.
            var load = 0.75 + (0.4 * Math.Sin((now / Day * 2 * Math.PI) - (Math.PI / 2)));
            nextArrival = now + (-Math.Log(1 - random.NextDouble()) * meanSeconds / (slots * load));
        }

        return [
            .. told.Select(
                t => (t.Position, Math.Abs(t.Eta - (ended[t.Request] - t.Request.Arrived)) / (ended[t.Request] - t.Request.Arrived)))];
    }

    private static Request NewRequest(double now, Random random)
    {
        var pick = random.NextDouble();
        var kind = Mix.First(kind => (pick -= kind.Share) <= 0 || kind == Mix[^1]);
        var normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return new Request(kind.Work, kind.Seconds * Math.Exp(0.1 * normal), now);
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    private sealed class Request(GenerationWork work, double seconds, double arrived)
    {
        private static long _last;

        private readonly long _id = Interlocked.Increment(ref _last);

        public GenerationWork Work => work;

        public double Seconds => seconds;

        public double Arrived => arrived;

        public double Start { get; set; }

        /// <summary>Progress is stored in whole percent, at most once a second.</summary>
        public RunningGeneration AsSeen(double now, Random random)
        {
            var at = Math.Max(Start, now - random.NextDouble());
            return new RunningGeneration(_id, work, Math.Floor((at - Start) / seconds * 100) / 100, Midnight.AddSeconds(at));
        }
    }
}
