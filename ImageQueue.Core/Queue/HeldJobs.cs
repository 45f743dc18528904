namespace ImageQueue.Core.Queue;

/// <summary>
/// The jobs that workers of this process have taken from Hangfire's queue but not yet claimed, because they are about to begin
/// or no Forge is free: their messages still wait, ahead of all that Hangfire holds.
/// </summary>
public sealed class HeldJobs(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly List<Held> _jobs = [];

    /// <summary>Counts the job as held until the result is disposed.</summary>
    public IDisposable Hold(string hangfireJobId)
    {
        lock (_lock)
        {
            var held = Find(hangfireJobId) ?? Add(hangfireJobId);
            held.HasBegun = true;
            return held;
        }
    }

    /// <summary>In the order in which they were taken.</summary>
    public IReadOnlyList<string> InOrder()
    {
        lock (_lock)
            return _jobs.Count == 0 ? [] : _jobs.ConvertAll(held => held.HangfireJobId);
    }

    /// <summary>A worker has taken the job and will <see cref="Hold"/> it in a moment, which must not be a gap.</summary>
    internal void Take(string hangfireJobId)
    {
        lock (_lock)
        {
            if (Find(hangfireJobId) is null)
                Add(hangfireJobId);
        }
    }

    /// <summary>The job is not this worker's any more, whatever it still does.</summary>
    internal void Drop(string hangfireJobId)
    {
        lock (_lock)
            _jobs.RemoveAll(held => held.HangfireJobId == hangfireJobId);
    }

    /// <summary>Those taken so long ago that nobody holds yet: with one whose worker could not begin, it stays that way.</summary>
    internal IReadOnlyList<string> NotBegun(TimeSpan since)
    {
        lock (_lock)
            return [.. _jobs.Where(held => !held.HasBegun && time.GetElapsedTime(held.TakenAt) >= since).Select(held => held.HangfireJobId)];
    }

    private Held? Find(string hangfireJobId) => _jobs.Find(held => held.HangfireJobId == hangfireJobId);

    private Held Add(string hangfireJobId)
    {
        var held = new Held(this, hangfireJobId, time.GetTimestamp());
        _jobs.Add(held);
        return held;
    }

    private sealed class Held(HeldJobs owner, string hangfireJobId, long takenAt) : IDisposable
    {
        public string HangfireJobId => hangfireJobId;

        public long TakenAt => takenAt;

        public bool HasBegun { get; set; }

        public void Dispose()
        {
            lock (owner._lock)
                owner._jobs.Remove(this);
        }
    }
}
