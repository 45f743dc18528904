using System.Diagnostics;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>Rounds of a measurement.</summary>
internal static class Rounds
{
    public const int Count = 5;

    /// <summary>
    /// Lets all measure by turns, round after round, so that whatever else the machine does hits all of them. The first round of
    /// each warms up and does not count.
    /// </summary>
    /// <returns>For each of <paramref name="contenders"/>, what it measured in each round.</returns>
    public static async Task<IReadOnlyList<T>[]> ByTurnsAsync<T>(int rounds, params Func<Task<T>>[] contenders)
    {
        var results = contenders.Select(_ => new List<T>()).ToArray();
        for (var round = 0; round <= rounds; round++)
        {
            for (var i = 0; i < contenders.Length; i++)
            {
                var result = await contenders[i]();
                if (round > 0)
                    results[i].Add(result);
            }
        }

        return results;
    }

    /// <summary>How many a second, when so many clients at once do so many in all.</summary>
    public static async Task<double> PerSecondAsync(int count, int clients, Func<int, Task> one)
    {
        var started = Stopwatch.GetTimestamp();
        await ShareAsync(count, clients, one);
        return count / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    /// <summary>The same, with how long each took.</summary>
    public static async Task<Pace> PaceAsync(int count, int clients, Func<int, Task> one)
    {
        var times = new double[count];
        var perSecond = await PerSecondAsync(count, clients, async i =>
        {
            var started = Stopwatch.GetTimestamp();
            await one(i);
            times[i] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        });
        return new Pace(perSecond, At(times, 0.5), At(times, 0.99));
    }

    /// <summary>What this share of them is at the most.</summary>
    public static double At(IEnumerable<double> values, double share)
    {
        var sorted = values.Order().ToList();
        return sorted[Math.Max(0, (int)Math.Ceiling(sorted.Count * share) - 1)];
    }

    public static double Milliseconds(Action action)
    {
        var started = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }

    public static async Task<double> MillisecondsAsync(Func<Task> action)
    {
        var started = Stopwatch.GetTimestamp();
        await action();
        return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }

    /// <summary>Bytes of what lives on the heap.</summary>
    public static long LiveBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    /// <summary>They begin together: one that began alone could be through before the second has a thread.</summary>
    private static async Task ShareAsync(int count, int clients, Func<int, Task> one)
    {
        var next = -1;
        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = Enumerable.Range(0, clients).Select(_ => RunAsync()).ToList();
        all.SetResult();
        await Task.WhenAll(running);

        async Task RunAsync()
        {
            await all.Task;
            while (Interlocked.Increment(ref next) is var i && i < count)
                await one(i);
        }
    }
}

/// <summary>How quick many requests were.</summary>
/// <param name="PerSecond">All clients together.</param>
/// <param name="Median">Milliseconds of one.</param>
/// <param name="P99">Milliseconds that 99 % took at the most.</param>
internal readonly record struct Pace(double PerSecond, double Median, double P99);
