namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// Upper bounds of how much each user has waiting. A submit that stays below the limits by them counts no rows, so a user's long queue
/// does not slow that user's submits. Used only in the writer's transactions.
/// </summary>
/// <remarks>
/// Requests that leave the queue, and submits that are rolled back, leave a bound too high: a submit that the bound refuses counts the
/// rows. A requeue, and a commit of another connection (<c>data_version</c>), may leave it too low: they discard all bounds.
/// </remarks>
internal sealed class UserShares
{
    private const int MaxUsers = 10_000;

    private readonly Dictionary<string, Share> _bounds = new(StringComparer.Ordinal);
    private SqliteSession? _session;
    private long _dataVersion;

    /// <summary>Counts requests that are about to be queued, or refuses all of them.</summary>
    /// <param name="work">Of each.</param>
    /// <exception cref="TooManyPendingException">The user's waiting requests have reached <paramref name="limits"/>.</exception>
    public void Add(SqliteSession session, string username, double work, UserLimits limits, int count = 1)
    {
        if (limits == UserLimits.None)
        {
            _bounds.Remove(username);
            return;
        }

        var version = session.QuerySingleOrDefault("PRAGMA data_version", [], row => (object)row.GetInt64(0)) is long read ? read : 0;
        if (!ReferenceEquals(session, _session) || version != _dataVersion || _bounds.Count > MaxUsers)
            _bounds.Clear();
        (_session, _dataVersion) = (session, version);
        if (!_bounds.TryGetValue(username, out var share) || !share.Allows(work, count, limits))
            share = Count(session, username, limits);
        if (share.Pending + count > limits.MaxPending)
            throw TooManyPendingException.OfUser(limits.MaxPending, count);
        if (!share.Allows(work, count, limits))
            throw TooManyPendingException.OfWork(limits.MaxWork!.Value); // Only the work limit can refuse it here.
        _bounds[username] = new Share(share.Pending + count, share.Work + (count * work));
    }

    public void Forget() => _bounds.Clear();

    /// <summary>Counts no further than the limit.</summary>
    private static Share Count(SqliteSession session, string username, UserLimits limits) => session.QuerySingleOrDefault(
        """
        SELECT count(*), total(work) FROM (
            SELECT work FROM messages INDEXED BY ix_messages_user
            WHERE username = @Username AND status = 'queued' AND queued_at IS NOT NULL
            LIMIT @MaxPending)
        """,
        [("@Username", username), ("@MaxPending", limits.MaxPending)],
        row => new Share(row.GetInt64(0), row.GetDouble(1)))!; // An aggregate always has a row.

    private sealed record Share(long Pending, double Work)
    {
        public bool Allows(double work, int count, UserLimits limits) => Pending + count <= limits.MaxPending
            && (Pending + count == 1 || limits.MaxWork is null || Work + (count * work) <= limits.MaxWork);
    }
}
