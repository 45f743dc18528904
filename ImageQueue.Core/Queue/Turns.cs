namespace ImageQueue.Core.Queue;

/// <summary>
/// Brings the jobs that workers of this process begin in the same instant to Forge's line in the order of the queue. Workers
/// take jobs in order, but nothing keeps the one with the later job from being quicker with it; where there are more workers than
/// servers the later request would be painted first.
/// </summary>
public sealed class Turns(ImageJobs jobs, HeldJobs held, IQueueOrder order, TimeProvider time)
{
    /// <summary>
    /// Longest wait for an earlier job. It is about to come, for Hangfire's queue has been beyond it; should it not, nothing
    /// worse happens than a request that is painted before its turn.
    /// </summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Glance = TimeSpan.FromMilliseconds(20);

    private readonly Lock _lock = new();
    private readonly HashSet<Turn> _coming = [];

    /// <summary>A worker begins the job; call it before <see cref="HeldJobs.Hold"/>. Dispose the result when the job stands in Forge's line, or will not.</summary>
    internal Turn Begin(string hangfireJobId)
    {
        var turn = new Turn(this, jobs.TicketOf(hangfireJobId));
        lock (_lock)
            _coming.Add(turn);
        return turn;
    }

    private async Task WaitAsync(long ticket, CancellationToken cancellationToken)
    {
        var started = time.GetTimestamp();
        while (true)
        {
            var change = order.NextChange;
            if (!await IsAnyoneBeforeAsync(ticket, cancellationToken) || time.GetElapsedTime(started) >= Patience)
                return;
            await change.WaitAsync(Glance, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private async Task<bool> IsAnyoneBeforeAsync(long ticket, CancellationToken cancellationToken)
    {
        // Each earlier job is in Hangfire's queue, then taken, then begun, then in Forge's line; looked for in this order, it
        // is not missed while it moves on. In the queue only for the look of it: it has just left, or this one would not have.
        var snapshot = await order.GetAsync(cancellationToken);
        if (snapshot.FirstInQueue is { } first && jobs.TicketOf(first) < ticket)
            return true;
        if (held.NotBegun(TimeSpan.Zero).Any(taken => jobs.TicketOf(taken) < ticket))
            return true;
        lock (_lock)
            return _coming.Any(other => other.Ticket < ticket);
    }

    private void Arrive(Turn turn)
    {
        lock (_lock)
        {
            if (!_coming.Remove(turn))
                return;
        }

        order.Changed();
    }

    /// <summary>One job on its way.</summary>
    internal sealed class Turn(Turns turns, long? ticket) : IDisposable
    {
        public long? Ticket => ticket;

        /// <summary>Waits until every earlier job stands in Forge's line.</summary>
        public Task ComeAsync(CancellationToken cancellationToken) =>
            // A queue that is shared with other machines gives no tickets: the order in which they paint is nobody's.
            ticket is { } mine ? turns.WaitAsync(mine, cancellationToken) : Task.CompletedTask;

        public void Dispose() => turns.Arrive(this);
    }
}
