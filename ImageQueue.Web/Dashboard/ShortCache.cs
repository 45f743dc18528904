namespace ImageQueue.Web.Dashboard;

/// <summary>What one reading has brought, for however many ask within a few seconds: one reads, the others wait for it.</summary>
/// <param name="freshFor">How long a reading serves, from its end: one that takes long is not begun again by each who waited for it.</param>
/// <param name="time">The clock.</param>
/// <param name="read">Reads.</param>
internal sealed class ShortCache<T>(TimeSpan freshFor, TimeProvider time, Func<CancellationToken, Task<T>> read) : IDisposable
{
    private readonly SemaphoreSlim _reading = new(1, 1);
    private (T Value, long At)? _known;

    /// <summary>The last reading, or a new one.</summary>
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

    /// <summary>The next one who asks gets a new reading.</summary>
    public async Task ForgetAsync()
    {
        await _reading.WaitAsync();
        _known = null;
        _reading.Release();
    }

    /// <inheritdoc/>
    public void Dispose() => _reading.Dispose();
}
