namespace ImageQueue.Core.Queue;

/// <summary>
/// The jobs that workers of this process have taken from Hangfire's queue but not yet claimed, because no Forge is free: their
/// messages still wait, ahead of all that Hangfire holds.
/// </summary>
public sealed class HeldJobs
{
    private readonly Lock _lock = new();
    private readonly List<string> _jobs = [];

    /// <summary>Counts the job as held until the result is disposed.</summary>
    public IDisposable Hold(string hangfireJobId)
    {
        lock (_lock)
            _jobs.Add(hangfireJobId);
        return new Held(this, hangfireJobId);
    }

    /// <summary>In the order in which they were taken.</summary>
    public IReadOnlyList<string> InOrder()
    {
        lock (_lock)
            return [.. _jobs];
    }

    private void Release(string hangfireJobId)
    {
        lock (_lock)
            _jobs.Remove(hangfireJobId);
    }

    private sealed class Held(HeldJobs owner, string hangfireJobId) : IDisposable
    {
        private int _released;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _released, 1) == 0)
                owner.Release(hangfireJobId);
        }
    }
}
