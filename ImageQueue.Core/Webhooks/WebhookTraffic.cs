using System.Collections.Concurrent;

namespace ImageQueue.Core.Webhooks;

/// <summary>Shares the workers among the receivers: one that is slow, or dead, holds a few of them and delays no other's events.</summary>
public sealed class WebhookTraffic(TimeProvider time)
{
    /// <summary>Workers for each receiver, and the most that one of them holds.</summary>
    public const int AtOnce = 4;

    /// <summary>How long a worker waits for its turn at a receiver that answers.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<string, Gate> _gates = new(StringComparer.Ordinal);

    /// <summary>Waits for a turn; not at all where the receiver's last answer was none.</summary>
    /// <exception cref="WebhookBusyException">There is none now.</exception>
    internal async Task<Visit> EnterAsync(string receiver, CancellationToken cancellationToken)
    {
        var gate = _gates.GetOrAdd(receiver, _ => new Gate());
        using var patience = new CancellationTokenSource(gate.IsInTrouble ? TimeSpan.Zero : Patience, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            if (!gate.Turns.Wait(0, CancellationToken.None))
                await gate.Turns.WaitAsync(either.Token);
            return new Visit(gate);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new WebhookBusyException(receiver);
        }
    }

    /// <summary>A turn, to be given back.</summary>
    internal sealed class Visit(Gate gate) : IDisposable
    {
        public void Succeeded() => gate.IsInTrouble = false;

        public void Failed() => gate.IsInTrouble = true;

        public void Dispose() => gate.Turns.Release();
    }

    internal sealed class Gate
    {
        public SemaphoreSlim Turns { get; } = new(AtOnce, AtOnce);

        public volatile bool IsInTrouble;
    }
}

/// <summary>Enough deliveries to this receiver are under way.</summary>
public sealed class WebhookBusyException(string receiver) : Exception($"Enough deliveries to {receiver} are under way; this one comes again.");
