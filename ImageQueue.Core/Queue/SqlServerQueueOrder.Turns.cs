namespace ImageQueue.Core.Queue;

/// <summary>Keeps each row in the Hangfire queue of its round.</summary>
/// <remarks>
/// A crash between a claim and the move of the user's next rows leaves them one round low; each process looks for such rows once a
/// minute. Rows are moved by their numbers, so two processes cannot move one twice.
/// </remarks>
internal sealed partial class SqlServerQueueOrder
{
    /// <summary>Most rows of one statement.</summary>
    private const int MoveSize = 500;

    private static readonly TimeSpan RepairInterval = TimeSpan.FromMinutes(1);

    // Whose each waiting job is; only under fair share. Guarded by the order's lock.
    private readonly Dictionary<Guid, string> _userOf = [];
    private readonly Dictionary<string, HashSet<Guid>> _jobsOf = new(StringComparer.Ordinal);
    private readonly HashSet<string> _dueUsers = new(StringComparer.Ordinal);
    private long? _repairedAt;
    private Task _moving = Task.CompletedTask;

    /// <summary>The background moves so far; for tests.</summary>
    internal Task Moves
    {
        get
        {
            lock (_lock)
                return _moving;
        }
    }

    /// <summary>Those in front are not counted: they have left the rounds.</summary>
    private int WaitingOf(string user) => _jobsOf.TryGetValue(user, out var jobs) ? jobs.Count(job => _index.PlaceOf(job) is not < 0) : 0;

    private void NoteUser(Guid job, string? user)
    {
        if (kind != QueueOrder.FairShare || user is null || !_userOf.TryAdd(job, user))
            return;
        if (!_jobsOf.TryGetValue(user, out var jobs))
            _jobsOf[user] = jobs = [];
        jobs.Add(job);
    }

    private string? ForgetUser(Guid job)
    {
        if (!_userOf.Remove(job, out var user))
            return null;
        _jobsOf[user].Remove(job);
        if (_jobsOf[user].Count == 0)
            _jobsOf.Remove(user);
        return user;
    }

    /// <summary>The user's later rows move up in the background: the claim does not wait for them.</summary>
    private void MoveUpSoon(string? user)
    {
        if (user is null || !_isKnown || !_jobsOf.ContainsKey(user))
            return;
        _dueUsers.Add(user);
        if (_dueUsers.Count == 1)
            _moving = MoveUpAsync(_moving);
    }

    private async Task MoveUpAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        try
        {
            List<string> users;
            bool isUnread;
            lock (_lock)
            {
                users = [.. _dueUsers];
                _dueUsers.Clear();
                isUnread = users.Any(user => _jobsOf.TryGetValue(user, out var jobs) && jobs.Any(_unread.ContainsKey));
            }

            if (isUnread)
                await ReadAgainAsync(CancellationToken.None); // Rows are moved by their numbers.
            List<QueueMove> moves;
            lock (_lock)
                moves = [.. users.Where(_jobsOf.ContainsKey).SelectMany(user => FairMoves(Entries(_jobsOf[user]), isFirst: false))];
            await MoveAsync(moves);
        }
        catch (Exception e)
        {
            logger.Log(
                e is StoreUnavailableException ? LogLevel.Debug : LogLevel.Warning, e,
                "Waiting requests could not be moved to their rounds; trying again within {Interval}.", RepairInterval);
        }

        Invalidate();
    }

    /// <param name="isFirst">Whether this is the process's first look: then rows of another order are spread over the rounds.</param>
    private async Task RepairRoundsAsync(bool isFirst)
    {
        List<QueueMove> moves;
        lock (_lock)
        {
            if (_repairedAt is { } at && time.GetElapsedTime(at) < RepairInterval)
                return;
            _repairedAt = time.GetTimestamp();
            moves = kind == QueueOrder.FairShare ? FairMoves(_index.Entries, isFirst) : FifoMoves();
        }

        await MoveAsync(moves);
    }

    private async Task MoveAsync(List<QueueMove> moves)
    {
        foreach (var some in moves.Chunk(MoveSize))
        {
            var moved = await rows.MoveAsync(some, CancellationToken.None);
            lock (_lock)
            {
                foreach (var (job, place) in moved)
                {
                    if (_index.Remove(job) is not null) // Else it was claimed meanwhile.
                        _index.Add(job, place);
                }

                _latest = null;
            }
        }
    }

    private IEnumerable<(long Place, Guid Job)> Entries(IEnumerable<Guid> jobs) =>
        jobs.Where(job => _index.PlaceOf(job) is not null).Select(job => (Place: _index.PlaceOf(job)!.Value, job)) // Just checked.
            .OrderBy(entry => entry.Place);

    /// <summary>The k-th waiting row of a user belongs into round k at most.</summary>
    private List<QueueMove> FairMoves(IEnumerable<(long Place, Guid Job)> entries, bool isFirst)
    {
        var moves = new List<QueueMove>();
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (place, job) in entries)
        {
            if (place < 0 || !_userOf.TryGetValue(job, out var user))
                continue;
            var before = seen.GetValueOrDefault(user);
            seen[user] = before + 1;
            var (round, now) = (FairTurns.RoundOf(before), QueuePlace.RoundOf(place));
            if ((now > round || (isFirst && now < round)) && !_unread.ContainsKey(job))
                moves.Add(new QueueMove(job, place, round));
        }

        return moves;
    }

    /// <summary>Rows that an earlier process put into rounds join the one queue, by submission.</summary>
    private List<QueueMove> FifoMoves() => _index.LastPlace <= QueuePlace.EndOf(1)
        ? []
        : [
            .. _index.Entries.Where(entry => QueuePlace.RoundOf(entry.Place) > 1)
                .OrderBy(entry => entry.Job)
                .Select(entry => new QueueMove(entry.Job, entry.Place, 1)),
        ];
}
