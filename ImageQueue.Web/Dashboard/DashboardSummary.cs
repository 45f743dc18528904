using ImageQueue.Core.Backends;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Queue figures and the last day's errors and results, cached for a few seconds.</summary>
internal sealed class DashboardSummary(
    IMessageStore store, QueuePositions positions, IQueueOrder order, BackendPool pool, TimeProvider time)
{
    private const int MostUsers = 8;
    private const int MostErrors = 20_000;

    /// <summary>Positions from the front that are read. Behind them nothing was moved: there a user's oldest request is next.</summary>
    private const int Head = 500;

    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    /// <summary>What a day has brought is read rarely, and served old meanwhile.</summary>
    private static readonly TimeSpan EndsAreFresh = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan EndsAreUsable = TimeSpan.FromMinutes(5);

    private readonly ShortCache<Figures> _figures =
        new(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(10), time, async cancellationToken => new Figures(
        await positions.CountAsync(cancellationToken),
        (await store.ListWaitingAsync(null, 1, cancellationToken)).Select(row => (DateTimeOffset?)row.QueuedAt).FirstOrDefault(),
        await store.ListByStatusAsync(MessageStatus.Processing, null, 200, cancellationToken),
        pool.Status,
        await ListUsersAsync(store, order, cancellationToken),
        time.GetUtcNow()));

    private readonly ShortCache<Errors> _errors = new(EndsAreFresh, EndsAreUsable, time, async cancellationToken =>
        new Errors(await store.ListErrorsAsync(Day, MostErrors, cancellationToken), time.GetUtcNow()));

    private readonly ShortCache<BackendFigures> _backends = new(EndsAreFresh, EndsAreUsable, time, async cancellationToken =>
        new BackendFigures((await store.ListBackendResultsAsync(Day, cancellationToken)).ToDictionary(one => one.Backend)));

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Errors> GetErrorsAsync(CancellationToken cancellationToken) => _errors.GetAsync(cancellationToken);

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<BackendFigures> GetBackendsAsync(CancellationToken cancellationToken) => _backends.GetAsync(cancellationToken);

    /// <summary>The last day's errors, newest first, read anew.</summary>
    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<IReadOnlyList<RequestError>> ListErrorsAsync(CancellationToken cancellationToken) =>
        store.ListErrorsAsync(Day, MostErrors, cancellationToken);

    /// <summary>Call after a command, so that the operator sees its effect at once.</summary>
    public void Invalidate()
    {
        _figures.Invalidate();
        _errors.Invalidate();
        _backends.Invalidate();
    }

    /// <summary>The users with the most waiting requests, and the position of each one's next.</summary>
    private static async Task<IReadOnlyList<(WaitingUser User, int? Next)>> ListUsersAsync(
        IMessageStore store, IQueueOrder order, CancellationToken cancellationToken)
    {
        var users = await store.ListWaitingUsersAsync(MostUsers, cancellationToken);
        var snapshot = await order.GetAsync(cancellationToken);
        var head = Enumerable.Range(1, Math.Min(Head, snapshot.Count)).ToDictionary(snapshot.At);
        var next = (await store.FindWaitingAsync(head.Keys, cancellationToken)).GroupBy(row => row.Username).ToDictionary(
            group => group.Key!, group => group.Min(row => head[row.HangfireJobId!]), StringComparer.Ordinal); // They were found by job.
        return [.. users.Select(user => (user, next.TryGetValue(user.Username, out var position)
            ? position
            : user.OldestJob is { } job ? snapshot.PositionOf(job) : null))];
    }

    internal sealed record Figures(
        int Waiting, DateTimeOffset? OldestQueuedAt, IReadOnlyList<Message> Generating, IReadOnlyList<BackendStatus> Backends,
        IReadOnlyList<(WaitingUser User, int? Next)> WaitingUsers, DateTimeOffset At)
    {
        public int Healthy => Backends.Count(backend => backend.Healthy == true && !backend.Paused);
    }

    internal sealed record Errors(IReadOnlyList<RequestError> All, DateTimeOffset At);

    /// <summary>The backends' results of the last day; of a backend without any, none.</summary>
    internal sealed record BackendFigures(IReadOnlyDictionary<string, BackendResults> Results)
    {
        public BackendResults Of(string backend) => Results.GetValueOrDefault(backend) ?? new BackendResults(backend, 0, null, null);

        /// <summary>
        /// How many times slower a backend is than the pool's median, per megapixel-step; null while there is too little to compare.
        /// </summary>
        public double? Slowness(string backend)
        {
            var paces = Results.Values.Select(one => one.Pace).OfType<double>().Order().ToList();
            // Of two in the middle the lower: the faster backend is the measure of a pool of two.
            return paces.Count < 2 ? null : Of(backend).Pace / paces[(paces.Count - 1) / 2];
        }
    }
}
