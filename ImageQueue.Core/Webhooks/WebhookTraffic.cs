using System.Collections.Concurrent;

namespace ImageQueue.Core.Webhooks;

/// <summary>Shares the workers among receivers: a slow or dead one occupies few of them and delays no other's events.</summary>
public sealed class WebhookTraffic(TimeProvider time)
{
    /// <summary>Workers per receiver, and the most that one receiver occupies.</summary>
    public const int AtOnce = 4;

    /// <summary>When a busy receiver's delivery comes again.</summary>
    internal static readonly TimeSpan BusyDelay = TimeSpan.FromSeconds(15);

    /// <summary>How long a worker waits for a slot at a receiver that answers.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<string, Gate> _gates = new(StringComparer.Ordinal);

    /// <summary>Receivers that refused or missed their last delivery.</summary>
    internal IReadOnlyList<FailingReceiver> Failing =>
    [
        .. _gates.Select(gate => gate.Value.Trouble is { } trouble ? new FailingReceiver(gate.Key, trouble.Since, trouble.Reason) : null)
            .OfType<FailingReceiver>(),
    ];

    /// <summary>Waits for a slot, but not at a receiver whose last delivery failed.</summary>
    /// <exception cref="WebhookBusyException">All slots are taken, or the receiver has asked for a pause.</exception>
    internal async Task<Visit> EnterAsync(string receiver, CancellationToken cancellationToken)
    {
        var gate = _gates.GetOrAdd(receiver, _ => new Gate());
        if (gate.Trouble is { RetryAt: { } retryAt } && retryAt - time.GetUtcNow() is { Ticks: > 0 } left)
            throw new WebhookBusyException(receiver, left > BusyDelay ? left : BusyDelay);
        using var patience = new CancellationTokenSource(gate.Trouble is not null ? TimeSpan.Zero : Patience, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            if (!gate.Slots.Wait(0, CancellationToken.None))
                await gate.Slots.WaitAsync(either.Token);
            return new Visit(gate, time);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new WebhookBusyException(receiver, BusyDelay);
        }
    }

    /// <summary>A slot until it is disposed.</summary>
    internal sealed class Visit(Gate gate, TimeProvider time) : IDisposable
    {
        public void Succeeded() => gate.Trouble = null;

        /// <param name="retryAfter">How long the receiver wants no deliveries; null when it did not say.</param>
        public void Failed(string reason, TimeSpan? retryAfter)
        {
            var now = time.GetUtcNow();
            gate.Trouble = new Trouble(gate.Trouble?.Since ?? now, reason, retryAfter is { } delay ? now + delay : null);
        }

        public void Dispose() => gate.Slots.Release();
    }

    internal sealed class Gate
    {
        public SemaphoreSlim Slots { get; } = new(AtOnce, AtOnce);

        public volatile Trouble? Trouble;
    }

    internal sealed record Trouble(DateTimeOffset Since, string Reason, DateTimeOffset? RetryAt);

    internal sealed record FailingReceiver(string Receiver, DateTimeOffset Since, string Reason);
}

/// <summary>The receiver takes no delivery now. This is no attempt: the job comes again after <paramref name="delay"/>.</summary>
internal sealed class WebhookBusyException(string receiver, TimeSpan delay)
    : Exception($"{receiver} takes no more deliveries now; this one comes again after {delay.TotalSeconds:0} s.")
{
    /// <summary>When the delivery comes again.</summary>
    public TimeSpan Delay => delay;
}
