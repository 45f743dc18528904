using System.Collections.Concurrent;

namespace ImageQueue.Core.Generation;

/// <summary>The requests that workers of this process are generating, so that a cancel reaches them at once.</summary>
public sealed class RunningJobs
{
    private readonly ConcurrentDictionary<long, CancellationTokenSource> _running = new();

    /// <summary>Lets <see cref="Stop"/> cancel the source until the result is disposed; dispose it before the source.</summary>
    internal IDisposable Register(long messageId, CancellationTokenSource source)
    {
        _running[messageId] = source;
        return new Registration(this, messageId, source);
    }

    /// <summary>Whether this process is generating the message, or writing down how that ended.</summary>
    public bool IsRunning(long messageId) => _running.ContainsKey(messageId);

    /// <summary>Stops generating the message, if this process does. Returns at once.</summary>
    public void Stop(long messageId)
    {
        if (!_running.TryGetValue(messageId, out var source))
            return;
        try
        {
            // Callbacks run on another thread: a cancel must not do the worker's clean-up.
            _ = source.CancelAsync();
        }
        catch (ObjectDisposedException)
        {
            // It ended at this very moment.
        }
    }

    private sealed class Registration(RunningJobs owner, long messageId, CancellationTokenSource source) : IDisposable
    {
        public void Dispose() => owner._running.TryRemove(KeyValuePair.Create(messageId, source));
    }
}
