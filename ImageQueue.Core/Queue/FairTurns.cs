namespace ImageQueue.Core.Queue;

/// <summary>
/// Fair share: the k-th waiting request of a user is in round k. A request joins its round at the end; when one leaves, the later
/// ones of its user each move up to the end of the round before. So a user gets one request per round, and nothing else moves.
/// </summary>
/// <remarks>No request ever moves down: one that was given back shares its round with the next of its user.</remarks>
internal sealed class FairTurns
{
    private readonly Dictionary<string, List<Guid>> _ofUser = new(StringComparer.Ordinal);
    private readonly Dictionary<Guid, string> _userOf = [];

    /// <summary>The round of a user's new request.</summary>
    public static int RoundOf(int waiting) => Math.Min(waiting + 1, QueuePlace.LastRound);

    /// <summary>Adds the user's last request.</summary>
    /// <returns>Its round.</returns>
    public int Add(string user, Guid job)
    {
        var jobs = ListOf(user);
        jobs.Add(job);
        _userOf[job] = user;
        return RoundOf(jobs.Count - 1);
    }

    /// <summary>Puts back a request that is its user's first again.</summary>
    public void AddFirst(string user, Guid job)
    {
        ListOf(user).Insert(0, job);
        _userOf[job] = user;
    }

    /// <summary>Removes a request that left its rounds.</summary>
    /// <returns>Those of its user that may move up, each with the round it belongs to at most; the first ones, in order.</returns>
    public IReadOnlyList<(Guid Job, int Round)> Remove(Guid job)
    {
        if (!_userOf.Remove(job, out var user))
            return [];
        var jobs = _ofUser[user];
        jobs.Remove(job);
        if (jobs.Count == 0)
            _ofUser.Remove(user);
        return [.. jobs.Take(QueuePlace.LastRound).Select((other, index) => (other, RoundOf(index)))];
    }

    private List<Guid> ListOf(string user) => _ofUser.TryGetValue(user, out var jobs) ? jobs : _ofUser[user] = [];
}
