using Hangfire;
using Hangfire.Common;
using Hangfire.States;

namespace ImageQueue.Core.Webhooks;

/// <summary>Enqueues the deliveries of a changed row: one job for each receiver that wants the event. For one dispatcher.</summary>
internal sealed class WebhookDeliveries(
    WebhookReceivers receivers, WebhookPosition position, WebhookSuspensions suspensions, IBackgroundJobClientV2 client)
{
    private readonly RecentEvents _recent = new();
    private HashSet<string> _suspended = [];

    /// <summary>Reads which receivers are suspended. Their events are not delivered, now or after they are resumed.</summary>
    internal async Task RefreshAsync(CancellationToken cancellationToken) =>
        _suspended = (await suspensions.ListAsync(cancellationToken)).Keys.ToHashSet(StringComparer.Ordinal);

    /// <returns>How many jobs were enqueued.</returns>
    internal int Enqueue(Message message)
    {
        if (WebhookEvents.TypeOf(message) is not { } type)
            return 0;
        var id = WebhookEvents.IdOf(type, message);
        if (_recent.Contains(message.Id, id))
            return 0; // The chat app wrote into a finished message, or the event was dispatched out of order before.
        var enqueued = 0;
        var interested = receivers.All.Where(one => one.Events.Contains(type) && !_suspended.Contains(one.Name));
        foreach (var receiver in interested.Where(one => position.Misses(one.Name, message.Revision)))
        {
            position.Open(receiver.Name, message.Revision);
            try
            {
                client.Create(
                    Job.FromExpression<DeliverWebhookJob>(
                        job => job.RunAsync(receiver.Name, type, message.Id, message.Revision, id, CancellationToken.None),
                        DeliverWebhookJob.QueueName),
                    new EnqueuedState(DeliverWebhookJob.QueueName));
            }
            catch
            {
                position.Close(receiver.Name, message.Revision); // No job will; the next process would deliver from here on again.
                throw;
            }

            enqueued++;
        }

        _recent.Add(message.Id, id);
        return enqueued;
    }

    /// <summary>
    /// The last event of each recently written message: the same id again is no other event. Forgotten with the process, whose successor
    /// may deliver an event once more, under the same id.
    /// </summary>
    private sealed class RecentEvents
    {
        private const int Most = 10_000;

        private Dictionary<long, string> _young = [];
        private Dictionary<long, string> _old = [];

        public bool Contains(long messageId, string id) => (_young.GetValueOrDefault(messageId) ?? _old.GetValueOrDefault(messageId)) == id;

        /// <summary>Called after all its jobs are enqueued: a failure is tried again with the others.</summary>
        public void Add(long messageId, string id)
        {
            _young[messageId] = id;
            if (_young.Count >= Most)
                (_old, _young) = (_young, []);
        }
    }
}
