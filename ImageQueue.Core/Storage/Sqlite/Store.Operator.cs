using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken) =>
        ManyAsync<Pause>("SELECT name, paused_by AS \"by\", paused_at AS at FROM pauses ORDER BY name", new { });

    public async Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "INSERT INTO pauses (name, paused_by, paused_at) VALUES (@name, @by, @now) ON CONFLICT (name) DO NOTHING",
            new { name, by, now = Now() }, cancellationToken) == 1;

    public async Task<bool> ResumeAsync(string name, CancellationToken cancellationToken) =>
        await ExecuteAsync("DELETE FROM pauses WHERE name = @name", new { name }, cancellationToken) == 1;

    public Task<FoundRequests> SearchFinishedAsync(
        RequestSearch search, FinishedCursor? place, bool isNewer, int span, int limit, CancellationToken cancellationToken) =>
        ReadFoldedAsync(connection =>
        {
            var (beyond, order) = isNewer ? (">", "ASC") : ("<", "DESC");
            var start = place ?? new FinishedCursor(DateTimeOffset.MaxValue, long.MaxValue);
            var parameters = Parameters(search, after: 0, limit);
            parameters.Add("at", StoredTime.Write(start.At));
            parameters.Add("id", start.Id);
            parameters.Add("span", span - 1);
            var last = connection.QuerySingleOrDefault<(DateTimeOffset At, long Id)?>(
                $"""
                SELECT finished_at, id FROM messages WHERE finished_at IS NOT NULL AND (finished_at, id) {beyond} (@at, @id)
                ORDER BY finished_at {order}, id {order} LIMIT 1 OFFSET @span
                """,
                parameters);
            parameters.Add("lastAt", last is { } end ? StoredTime.Write(end.At) : null);
            parameters.Add("lastId", last?.Id);
            var found = Search(
                connection,
                search,
                $"""
                finished_at IS NOT NULL AND (finished_at, id) {beyond} (@at, @id) AND status IN @statuses
                {(last is null ? "" : $"AND (finished_at, id) {(isNewer ? "<=" : ">=")} (@lastAt, @lastId)")}
                """,
                $"finished_at {order}, id {order}",
                parameters);
            if (isNewer)
                found.Reverse();
            return new FoundRequests(found, last is var (at, id) ? new FinishedCursor(at, id) : null);
        });

    public Task<IReadOnlyList<MessageChange>> SearchUnfinishedAsync(RequestSearch search, int limit, CancellationToken cancellationToken) =>
        ReadFoldedAsync<IReadOnlyList<MessageChange>>(connection => Search(
            connection, search, "queued_at IS NOT NULL AND status IN @statuses", "queued_at, id", Parameters(search, after: 0, limit)));

    public Task<IReadOnlyList<long>> ListMatchingAsync(RequestSearch search, long after, int limit, CancellationToken cancellationToken) =>
        ReadFoldedAsync<IReadOnlyList<long>>(connection => connection.Query<long>(
            $"""
            SELECT id FROM messages
            WHERE id > @after AND +queued_at IS NOT NULL AND +status IN @statuses {Matches(search)}
            ORDER BY id LIMIT @limit
            """,
            Parameters(search, after, limit)).AsList());

    public Task<int> CountMatchingAsync(RequestSearch search, CancellationToken cancellationToken) =>
        ReadFoldedAsync(connection => connection.ExecuteScalar<int>(
            $"SELECT count(*) FROM messages WHERE queued_at IS NOT NULL AND status IN @statuses {Matches(search)}",
            Parameters(search, after: 0, limit: 0)));

    public Task<IReadOnlyList<WaitingUser>> ListWaitingUsersAsync(int limit, CancellationToken cancellationToken) =>
        ManyAsync<WaitingUser>(
            // Of a query with one min(), SQLite takes the other columns from the row that has it.
            """
            SELECT username, count(*) AS count, min(queued_at) AS oldest_queued_at, hangfire_job_id AS oldest_job FROM messages
            WHERE queued_at IS NOT NULL AND status = 'queued'
            GROUP BY username ORDER BY count(*) DESC, username LIMIT @limit
            """,
            new { limit });

    /// <summary>With <c>fold</c>, which other reads need not pay for.</summary>
    private Task<T> ReadFoldedAsync<T>(Func<SqliteConnection, T> query) => ReadAsync(connection =>
    {
        connection.CreateFunction<string?, string?>("fold", SearchText.Fold, isDeterministic: true);
        return query(connection);
    });

    private static List<MessageChange> Search(
        SqliteConnection connection, RequestSearch search, string where, string order, DynamicParameters parameters) =>
        connection.Query<Message>(
            $"SELECT {Columns} FROM messages WHERE {where} {Matches(search)} ORDER BY {order} LIMIT @limit",
            parameters).Select(message => new MessageChange(message)).ToList();

    /// <summary>The conditions beside the statuses. <c>fold</c> is <see cref="SearchText.Fold"/>: SQLite's LIKE knows ASCII only.</summary>
    private static string Matches(RequestSearch search) =>
        $"""
        {(search.ErrorCode is null ? "" : "AND extra_metadata ->> '$.error_code' = @code")}
        {(search.Backend is null ? "" : "AND backend = @backend COLLATE NOCASE")}
        {(search.Username is null ? "" : "AND substr(fold(+username), 1, length(@username)) = @username")}
        {(search.Text is null ? "" : MatchesText)}
        """;

    private const string MatchesText =
        """
        AND (id = @number OR +job_id = @text OR +hangfire_job_id = @text OR +conversation_id = @text
            OR instr(fold(extra_metadata ->> '$.prompt'), @folded) > 0)
        """;

    private static DynamicParameters Parameters(RequestSearch search, long after, int limit) => new(new
    {
        after,
        statuses = search.Statuses,
        code = search.ErrorCode,
        backend = search.Backend,
        username = SearchText.Fold(search.Username),
        text = search.Text?.Trim(),
        folded = SearchText.Fold(search.Text?.Trim()),
        number = long.TryParse(search.Text?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1,
        limit,
    });

    public Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        ReadAsync<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>>(connection => connection.Query<(long Id, string? Events)>(
            "SELECT id, events FROM messages WHERE id IN (SELECT value FROM json_each(@ids))",
            new { ids = JsonSerializer.Serialize(ids) }).ToDictionary(row => row.Id, row => RequestEvents.Read(row.Events)));

    public Task<IReadOnlyList<RequestError>> ListErrorsAsync(TimeSpan since, int limit, CancellationToken cancellationToken) =>
        ManyAsync<RequestError>(
            """
            SELECT id, extra_metadata ->> '$.error_code' AS code, backend, queued_at, finished_at AS at
            FROM messages
            WHERE finished_at IS NOT NULL AND finished_at > @after AND status = 'error'
            ORDER BY finished_at DESC, id DESC
            LIMIT @limit
            """,
            new { after = Ago(since), limit });
}
