using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Makes deliveries of row changes: one for a database, by a lease whose note says how far it is. Whoever writes a row knows
/// nothing of receivers, and a process that dies leaves changes that the next one finds.
/// </summary>
/// <remarks>
/// The deliveries come first and the note after them: a crash in between makes some of them twice, under the same id. A change that
/// another one of the same message has overtaken is told by that one.
/// </remarks>
public sealed class WebhookDispatcher(
    ILeaseStore leases,
    WebhookChanges changes,
    WebhookReceivers receivers,
    WebhookPosition position,
    IBackgroundJobClientV2 client,
    AsyncSignal signal,
    DatabaseReadiness readiness,
    TimeProvider time,
    ILogger<WebhookDispatcher> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    /// <summary>The lease.</summary>
    internal const string LeaseName = "webhooks";

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);

    private readonly RecentEnds _ends = new();
    private bool _hasPosition;

    /// <inheritdoc/>
    protected override string Activity => "Dispatching webhooks";

    /// <summary>How long a change by another process may go unseen.</summary>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1.2);

    /// <summary>Writes come in bursts.</summary>
    protected override TimeSpan MinInterval => TimeSpan.FromMilliseconds(200);

    /// <inheritdoc/>
    protected override Task NextSignal => signal.Next;

    /// <summary>
    /// Decides where the first of all dispatchers begins before the first request can come in: what is asked for in the very first
    /// second is news already.
    /// </summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        if (IsDatabaseReady) // Otherwise no request comes in either.
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

    /// <summary>One look.</summary>
    /// <returns>How many deliveries were begun.</returns>
    public async Task<int> DispatchAsync(CancellationToken cancellationToken)
    {
        if (!await TryLeadAsync(cancellationToken))
            return 0;
        var begun = 0;
        bool isFull;
        do
        {
            (var page, var end, isFull) = await changes.ReadAsync(position.Read, cancellationToken);
            foreach (var change in page)
                begun += Dispatch(change.Message);
            if (end is not { } read)
                break;
            position.Advance(read);
            await NoteAsync(cancellationToken);
        }
        while (isFull);
        // The position stays before the open transaction: the order brings these once more, under the same ids.
        foreach (var change in await changes.ReadAheadAsync(cancellationToken))
        {
            begun += Dispatch(change.Message);
            changes.Dispatched(change);
        }

        await NoteAsync(cancellationToken);
        return begun;
    }

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => DispatchAsync(cancellationToken);

    /// <inheritdoc/>
    protected override async Task ResignAsync(CancellationToken cancellationToken)
    {
        if (_hasPosition)
            await NoteAsync(cancellationToken);
        await base.ResignAsync(cancellationToken);
    }

    private int Dispatch(Message message)
    {
        if (WebhookEvents.TypeOf(message) is not { } type)
            return 0;
        var id = WebhookEvents.IdOf(type, message);
        if (_ends.Knows(message.Id, id))
            return 0; // The chat app has written into a message that has ended; its end was told.
        var begun = 0;
        foreach (var receiver in receivers.All.Where(receiver => receiver.Events.Contains(type) && position.Misses(receiver.Name, message.Revision)))
        {
            position.Open(receiver.Name, message.Revision);
            client.Create(
                Job.FromExpression<DeliverWebhookJob>(
                    job => job.RunAsync(receiver.Name, type, message.Id, message.Revision, id, CancellationToken.None), DeliverWebhookJob.QueueName),
                new EnqueuedState(DeliverWebhookJob.QueueName));
            begun++;
        }

        _ends.Note(message.Id, id);
        return begun;
    }

    private async Task NoteAsync(CancellationToken cancellationToken)
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
            await NoteAsync(cancellationToken);
        }

        return true;
    }

    /// <summary>
    /// The last event of each of the messages that were written lately: what comes again under the same id is no other event. It is
    /// forgotten with the process, whose successor may tell an end once more, under the same id.
    /// </summary>
    private sealed class RecentEnds
    {
        private const int Most = 10_000;

        private Dictionary<long, string> _young = [];
        private Dictionary<long, string> _old = [];

        public bool Knows(long messageId, string id) => (_young.GetValueOrDefault(messageId) ?? _old.GetValueOrDefault(messageId)) == id;

        /// <summary>Only when all its deliveries have begun: one that could not begin is tried again with the others.</summary>
        public void Note(long messageId, string id)
        {
            _young[messageId] = id;
            if (_young.Count >= Most)
                (_old, _young) = (_young, []);
        }
    }
}
