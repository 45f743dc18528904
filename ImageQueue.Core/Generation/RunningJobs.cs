using System.Collections.Concurrent;

namespace ImageQueue.Core.Generation;

/// <summary>The requests that workers of this process are painting, so that a cancel reaches them at once.</summary>
public sealed class RunningJobs
{
    private readonly ConcurrentDictionary<long, CancellationTokenSource> _running = new();

    /// <summary>Lets <see cref="Stop"/> cancel the source until the result is disposed.</summary>
    internal IDisposable Register(long messageId, CancellationTokenSource source)
    {
        _running[messageId] = source;
        return new Registration(this, messageId, source);
    }

    /// <summary>Stops painting the message, if this process does.</summary>
    public void Stop(long messageId)
    {
        if (_running.TryGetValue(messageId, out var source))
            source.Cancel();
    }

    private sealed class Registration(RunningJobs owner, long messageId, CancellationTokenSource source) : IDisposable
    {
        public void Dispose() => owner._running.TryRemove(KeyValuePair.Create(messageId, source));
    }
}
