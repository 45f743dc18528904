namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// Queues this process's writes to one row, so that they do not wait for the row's lock with a pooled connection each. A write that
/// waits too long is refused; its caller can try again.
/// </summary>
internal sealed class RowGate(TimeProvider time)
{
    /// <summary>Also the time-out of the statement, which waits for other processes' writes to the row.</summary>
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(10);

    private readonly Dictionary<long, Entry> _rows = [];

    /// <exception cref="StoreUnavailableException">Other writes to the row took too long.</exception>
    public async Task<T> RunAsync<T>(long id, Func<Task<T>> write, CancellationToken cancellationToken)
    {
        var entry = Enter(id);
        try
        {
            await WaitAsync(entry.Turn, cancellationToken);
            try
            {
                return await write();
            }
            finally
            {
                entry.Turn.Release();
            }
        }
        finally
        {
            Leave(id, entry);
        }
    }

    private async Task WaitAsync(SemaphoreSlim turn, CancellationToken cancellationToken)
    {
        if (turn.Wait(0, CancellationToken.None))
            return;
        using var patience = new CancellationTokenSource(MaxWait, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            await turn.WaitAsync(either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new StoreUnavailableException("The message database is busy with others' writes to the same message.", e);
        }
    }

    private Entry Enter(long id)
    {
        lock (_rows)
        {
            if (!_rows.TryGetValue(id, out var entry))
                _rows[id] = entry = new Entry();
            entry.Users++;
            return entry;
        }
    }

    private void Leave(long id, Entry entry)
    {
        lock (_rows)
        {
            if (--entry.Users > 0)
                return;
            _rows.Remove(id);
        }

        entry.Turn.Dispose();
    }

    private sealed class Entry
    {
        public SemaphoreSlim Turn { get; } = new(1, 1);

        public int Users { get; set; }
    }
}
