namespace ImageQueue.Web.Dashboard;

/// <summary>Caches a value for a few seconds; concurrent callers share one read.</summary>
/// <param name="freshFor">Counted from the end of a read, so that a slow read is not repeated by each waiting caller.</param>
internal sealed class ShortCache<T>(TimeSpan freshFor, TimeProvider time, Func<CancellationToken, Task<T>> read) : IDisposable
{
    private readonly SemaphoreSlim _reading = new(1, 1);
    private (T Value, long At)? _known;

    public async Task<T> GetAsync(CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken);
        try
        {
            if (_known is not { } known || time.GetElapsedTime(known.At) >= freshFor)
                _known = known = (await read(cancellationToken), time.GetTimestamp());
            return known.Value;
        }
        finally
        {
            _reading.Release();
        }
    }

    public async Task InvalidateAsync()
    {
        await _reading.WaitAsync();
        _known = null;
        _reading.Release();
    }

    public void Dispose() => _reading.Dispose();
}
