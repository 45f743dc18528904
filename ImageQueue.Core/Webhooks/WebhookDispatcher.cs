using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Hosting;
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
    IFeedStore store,
    WebhookReceivers receivers,
    WebhookPosition position,
    IBackgroundJobClientV2 client,
    AsyncSignal signal,
    TimeProvider time,
    ILogger<WebhookDispatcher> logger) : BackgroundService
{
    /// <summary>The lease.</summary>
    internal const string LeaseName = "webhooks";

    private const int PageSize = 200;

    /// <summary>Shortest time between two looks: writes come in bursts.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    /// <summary>How long a change by another process may go unseen.</summary>
    private static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan LeaseRenewal = TimeSpan.FromSeconds(5);

    private readonly string _holder = $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}";
    private readonly RecentEnds _ends = new();
    private long? _askedAt;
    private bool _isHolder;
    private string? _noted;
    private readonly SteadyWork _work = new(logger, "Webhooks wait, and go on where they were", "Webhooks go on.");

    /// <summary>Takes the lease, if nobody has it, and with it the place to begin at.</summary>
    internal Task BeginAsync(CancellationToken cancellationToken) => IsHolderAsync(cancellationToken);

    /// <summary>One look.</summary>
    /// <returns>How many deliveries were begun.</returns>
    public async Task<int> DispatchAsync(CancellationToken cancellationToken)
    {
        if (!await IsHolderAsync(cancellationToken))
            return 0;
        var begun = 0;
        IReadOnlyList<ChangedRow> rows;
        do
        {
            rows = (await store.ListChangesAsync(position.Read, PageSize, cancellationToken)).Rows;
            if (rows.Count == 0)
                break;
            var end = rows[^1].Revision;
            // A row that was written again meanwhile is further on in the order by now, and will be come to there.
            foreach (var change in (await store.ReadChangesAsync([.. rows.Select(row => row.Id)], cancellationToken)).Where(change => change.Message.Revision <= end))
                begun += Dispatch(change.Message);
            position.Advance(end);
            await NoteAsync(cancellationToken);
        }
        while (rows.Count == PageSize);
        await NoteAsync(cancellationToken);
        return begun;
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (!_isHolder)
            return;
        try
        {
            await NoteAsync(cancellationToken);
            await leases.ReleaseLeasesAsync(_holder, [LeaseName], cancellationToken);
        }
        catch (StoreUnavailableException e)
        {
            logger.LogDebug(e, "The lease on webhooks ends by itself.");
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var change = signal.Next;
            await _work.TryAsync(DispatchAsync, stoppingToken);

            await Task.Delay(Pause, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await change.WaitAsync(PollInterval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
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
        var note = position.ToNote();
        if (note == _noted)
            return;
        _isHolder = await leases.NoteLeaseAsync(_holder, LeaseName, note, cancellationToken);
        _noted = note;
    }

    private async Task<bool> IsHolderAsync(CancellationToken cancellationToken)
    {
        if (_askedAt is { } at && time.GetElapsedTime(at) < LeaseRenewal)
            return _isHolder;
        var asked = time.GetTimestamp();
        var wasHolder = _isHolder;
        var held = await leases.AcquireLeasesAsync(_holder, [LeaseName], LeaseTerm, cancellationToken);
        _isHolder = held.Count > 0;
        if (_isHolder && !wasHolder)
        {
            position.Begin(held[0].Note, held[0].Note is null ? await store.LatestRevisionAsync(cancellationToken) : 0);
            _noted = held[0].Note;
            await NoteAsync(cancellationToken);
        }

        _askedAt = asked;
        return _isHolder;
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
