namespace ImageQueue.Web.Dashboard;

/// <summary>Caches a value; concurrent callers share one read, and an old value is served while the next is read.</summary>
/// <param name="freshFor">From the end of a read, so that a slow read is not repeated by each waiting caller.</param>
/// <param name="usableFor">How long an old value is served while the next is read; no longer than <paramref name="freshFor"/>:
/// never.</param>
internal sealed class ShortCache<T>(TimeSpan freshFor, TimeSpan usableFor, TimeProvider time, Func<CancellationToken, Task<T>> read)
    where T : class
{
    private readonly Lock _gate = new();
    private Task<T>? _reading;
    private (T Value, long At)? _known;
    private int _version;

    /// <exception cref="Exception">The read failed; an old value hides that while it is usable.</exception>
    public Task<T> GetAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            var age = _known is { } known ? time.GetElapsedTime(known.At) : TimeSpan.MaxValue;
            if (age < freshFor)
                return Task.FromResult(_known!.Value.Value); // Its age is known.
            var version = _version;
            _reading ??= Task.Run(() => ReadAsync(version), CancellationToken.None);
            return age < usableFor ? Task.FromResult(_known!.Value.Value) : _reading.WaitAsync(cancellationToken);
        }
    }

    /// <summary>The next caller gets a new read.</summary>
    public void Invalidate()
    {
        lock (_gate)
            (_known, _reading, _version) = (null, null, _version + 1);
    }

    private async Task<T> ReadAsync(int version)
    {
        try
        {
            var value = await read(CancellationToken.None);
            lock (_gate)
            {
                if (version == _version)
                    _known = (value, time.GetTimestamp());
            }

            return value;
        }
        finally
        {
            lock (_gate)
            {
                if (version == _version)
                    _reading = null;
            }
        }
    }
}
