using ImageQueue.Core.Requests;
using ImageQueue.Web.Api;

namespace ImageQueue.Web.Compatibility;

/// <summary>Whose requests a call shares with others: those of the same caller and <c>Idempotency-Key</c>.</summary>
internal readonly record struct CallKey(string Api, string Username, string Key);

/// <summary>Cancels the requests of calls that end early. Calls with the same key share theirs: the last of them cancels.</summary>
internal sealed class SharedCalls(CancelImageRequest cancel, IHostApplicationLifetime lifetime, ILogger<SharedCalls> logger) : IDisposable
{
    /// <summary>A call that comes while its requests are cancelled waits here, and finds them cancelled.</summary>
    private readonly SemaphoreSlim _gate = new(1, 1);

    private readonly Dictionary<CallKey, Group> _groups = [];

    /// <summary>Counts the call, before it looks for the requests of an earlier one. <see cref="LeaveAsync"/> must follow.</summary>
    /// <param name="entering">Null for a call without a key, which shares nothing.</param>
    public async Task EnterAsync(CallKey? entering, CancellationToken cancellationToken)
    {
        if (entering is not { } key)
            return;
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (!_groups.TryGetValue(key, out var group))
                _groups[key] = group = new Group();
            group.Calls++;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The call ends: what has not ended and no other call of this process waits for is cancelled.</summary>
    /// <param name="leaving">As the call has entered.</param>
    /// <param name="messages">As the call has last seen them.</param>
    /// <param name="cancelThem">Whether this call's are to be cancelled.</param>
    public async Task LeaveAsync(CallKey? leaving, IReadOnlyCollection<Message> messages, bool cancelThem)
    {
        var unfinished = messages.Where(message => cancelThem && !MessageWait.HasEnded(message)).Select(message => message.Id);
        if (leaving is not { } key)
        {
            await CancelAsync(unfinished);
            return;
        }

        await _gate.WaitAsync(CancellationToken.None);
        try
        {
            var group = _groups[key]; // It was entered.
            group.Unfinished.ExceptWith(messages.Select(message => message.Id));
            group.Unfinished.UnionWith(unfinished);
            if (--group.Calls > 0)
                return;
            _groups.Remove(key);
            await CancelAsync(group.Unfinished);
        }
        finally
        {
            _gate.Release();
        }
    }

    public void Dispose() => _gate.Dispose();

    private async Task CancelAsync(IEnumerable<long> ids)
    {
        // Requests survive a restart, and a client that repeats its call with its key joins them then.
        if (lifetime.ApplicationStopping.IsCancellationRequested)
            return;
        foreach (var id in ids)
        {
            try
            {
                // The caller's token is cancelled by now, and the cancel must not be.
                if ((await cancel.CancelAsync(id, CancellationToken.None)).Applied)
                    logger.LogInformation("Message {MessageId} is cancelled: its call has ended.", id);
            }
            catch (StoreUnavailableException e)
            {
                logger.LogWarning(e, "Message {MessageId} could not be cancelled after its call had ended; it will run.", id);
            }
        }
    }

    private sealed class Group
    {
        public int Calls { get; set; }

        /// <summary>Of the calls that have left.</summary>
        public HashSet<long> Unfinished { get; } = [];
    }
}
