namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>Counts by tenths of a millisecond up to ten seconds: millions of them must not be mistaken for the server's memory.</summary>
internal sealed class Latencies
{
    private readonly long[] _counts = new long[100_001];

    public long Count => _counts.Sum();

    public void Add(TimeSpan latency) =>
        Interlocked.Increment(ref _counts[Math.Min(_counts.Length - 1, (int)(latency.TotalMilliseconds * 10))]);

    public void Clear() => Array.Clear(_counts);

    /// <summary>The milliseconds that this share of them took at the most.</summary>
    public double Below(double share)
    {
        var (left, bucket) = ((long)Math.Ceiling(Count * share), -1);
        while (left > 0)
            left -= _counts[++bucket];
        return (bucket + 1) / 10.0;
    }
}
