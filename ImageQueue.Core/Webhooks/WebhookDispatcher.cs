using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Turns row changes into deliveries: in one process of a database, whose lease's note says how far it is. Writers of rows know nothing
/// of receivers, and the next leader finds what a dead one left.
/// </summary>
/// <remarks>
/// Deliveries are enqueued before the note is saved: a crash in between enqueues some of them twice, under the same id. Of several
/// changes of a message only the latest is delivered.
/// </remarks>
internal sealed class WebhookDispatcher(
    ILeaseStore leases, WebhookChanges changes, WebhookDeliveries deliveries, WebhookPosition position, AsyncSignal signal,
    DatabaseReadiness readiness, TimeProvider time, ILogger<WebhookDispatcher> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    internal const string LeaseName = "webhooks";

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);

    private bool _hasPosition;

    protected override string Activity => "Dispatching webhooks";

    /// <summary>How long a change by another process may go unseen.</summary>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1.2);

    /// <summary>Writes come in bursts.</summary>
    protected override TimeSpan MinInterval => TimeSpan.FromMilliseconds(200);

    protected override Task NextSignal => signal.Next;

    /// <summary>
    /// Sets the first dispatcher's position before the first request can arrive: what is requested in the first second is news.
    /// </summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        if (IsDatabaseReady) // Otherwise no request arrives either.
        {
            try
            {
                await TryLeadAsync(cancellationToken);
            }
            catch (StoreUnavailableException e)
            {
                Logger.LogDebug(e, "The first pass tries again.");
            }
        }

        await base.StartAsync(cancellationToken);
    }

    /// <returns>How many deliveries were enqueued.</returns>
    public async Task<int> DispatchAsync(CancellationToken cancellationToken)
    {
        if (!await TryLeadAsync(cancellationToken))
            return 0;
        var enqueued = 0;
        await deliveries.RefreshAsync(cancellationToken);
        bool isFull;
        do
        {
            (var page, var end, isFull) = await changes.ReadAsync(position.Read, cancellationToken);
            foreach (var change in page)
                enqueued += deliveries.Enqueue(change.Message);
            if (end is not { } read)
                break;
            position.Advance(read);
            await SaveNoteAsync(cancellationToken);
        }
        while (isFull);
        // The position stays before the open transaction: the order brings these once more, under the same ids.
        foreach (var change in await changes.ReadAheadAsync(cancellationToken))
        {
            enqueued += deliveries.Enqueue(change.Message);
            changes.Dispatched(change);
        }

        await SaveNoteAsync(cancellationToken);
        return enqueued;
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken) => DispatchAsync(cancellationToken);

    protected override async Task ResignAsync(CancellationToken cancellationToken)
    {
        if (_hasPosition)
            await SaveNoteAsync(cancellationToken);
        await base.ResignAsync(cancellationToken);
    }

    private async Task SaveNoteAsync(CancellationToken cancellationToken)
    {
        if (position.ToNote() is var note && note != Lease.Note)
            await Lease.SaveNoteAsync(note, cancellationToken);
    }

    private async Task<bool> TryLeadAsync(CancellationToken cancellationToken)
    {
        if (!await Lease.TryAcquireAsync(cancellationToken))
            return _hasPosition = false;
        if (!_hasPosition)
        {
            position.Begin(Lease.Note, Lease.Note is null ? await changes.LatestRevisionAsync(cancellationToken) : 0);
            _hasPosition = true;
            await SaveNoteAsync(cancellationToken);
        }

        return true;
    }
}
