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

    /// <summary>Receivers that refused or missed their last delivery.</summary>
    internal IReadOnlyList<FailingReceiver> Failing =>
        [.. _gates.Select(gate => gate.Value.Trouble is { } trouble ? new FailingReceiver(gate.Key, trouble.Since, trouble.Reason) : null).OfType<FailingReceiver>()];

    /// <summary>Waits for a turn; not at all where the receiver's last answer was none.</summary>
    /// <exception cref="WebhookBusyException">There is none now.</exception>
    internal async Task<Visit> EnterAsync(string receiver, CancellationToken cancellationToken)
    {
        var gate = _gates.GetOrAdd(receiver, _ => new Gate());
        using var patience = new CancellationTokenSource(gate.Trouble is not null ? TimeSpan.Zero : Patience, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            if (!gate.Turns.Wait(0, CancellationToken.None))
                await gate.Turns.WaitAsync(either.Token);
            return new Visit(gate, time);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new WebhookBusyException(receiver);
        }
    }

    /// <summary>A turn, to be given back.</summary>
    internal sealed class Visit(Gate gate, TimeProvider time) : IDisposable
    {
        public void Succeeded() => gate.Trouble = null;

        public void Failed(string reason) => gate.Trouble = new Trouble(gate.Trouble?.Since ?? time.GetUtcNow(), reason);

        public void Dispose() => gate.Turns.Release();
    }

    internal sealed class Gate
    {
        public SemaphoreSlim Turns { get; } = new(AtOnce, AtOnce);

        public volatile Trouble? Trouble;
    }

    internal sealed record Trouble(DateTimeOffset Since, string Reason);

    internal sealed record FailingReceiver(string Receiver, DateTimeOffset Since, string Reason);
}

/// <summary>Enough deliveries to this receiver are under way.</summary>
public sealed class WebhookBusyException(string receiver) : Exception($"Enough deliveries to {receiver} are under way; this one comes again.");
