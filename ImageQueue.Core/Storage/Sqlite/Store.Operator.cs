using System.Globalization;
using System.Text.Json;
using Dapper;
using ImageQueue.Core.Messages;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Pause>>(Read(connection => connection.Query<(string Name, string By, string At)>(
            "SELECT name, paused_by, paused_at FROM pauses ORDER BY name").Select(row =>
                new Pause(row.Name, row.By, Time(row.At))).ToList()));

    public Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute(
            "INSERT INTO pauses (name, paused_by, paused_at) VALUES (@name, @by, @now) ON CONFLICT (name) DO NOTHING",
            new { name, by, now = Now() }) == 1,
        cancellationToken);

    public Task<bool> ResumeAsync(string name, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute("DELETE FROM pauses WHERE name = @name", new { name }) == 1, cancellationToken);

    public Task<FoundRequests> SearchAsync(RequestSearch search, long before, long span, int limit, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection =>
        {
            // The newest id bounds the first page, which has no place to go on from.
            var newest = connection.ExecuteScalar<long>("SELECT ifnull(max(id), 0) FROM messages WHERE id < @before", new { before });
            var from = newest - span + 1;
            var found = Search(
                connection,
                search,
                "id < @before AND id >= @from AND +queued_at IS NOT NULL AND +status IN @statuses",
                "id DESC",
                before,
                from,
                limit);
            return new FoundRequests(found, from > 1 ? from : null);
        }));

    public Task<IReadOnlyList<MessageChange>> SearchUnfinishedAsync(RequestSearch search, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<MessageChange>>(
            Read(connection => Search(connection, search, "queued_at IS NOT NULL AND status IN @statuses", "queued_at, id", 0, 0, limit)));

    private static List<MessageChange> Search(
        SqliteConnection connection, RequestSearch search, string where, string order, long before, long from, int limit)
    {
        var text = search.Text?.Trim() is { Length: > 0 } words ? words : null;
        return connection.Query<MessageRow>(
            $"""
            SELECT {Columns}, username AS Username FROM messages
            WHERE {where}
                {(search.ErrorCode is null ? "" : "AND extra_metadata ->> '$.error_code' = @code")}
                {(search.Backend is null ? "" : "AND backend = @backend COLLATE NOCASE")}
                {(search.Username is null ? "" : "AND +username = @username")}
                {(text is null ? "" : "AND (id = @number OR +job_id = @text OR +hangfire_job_id = @text OR +conversation_id = @text OR extra_metadata ->> '$.prompt' LIKE @like ESCAPE '!')")}
            ORDER BY {order}
            LIMIT @limit
            """,
            new
            {
                before,
                from,
                statuses = search.Statuses,
                code = search.ErrorCode,
                backend = search.Backend,
                username = search.Username,
                text,
                number = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1,
                like =
                    $"%{text?.Replace("!", "!!", StringComparison.Ordinal).Replace("%", "!%", StringComparison.Ordinal).Replace("_", "!_", StringComparison.Ordinal)}%",
                limit,
            }).Select(row => new MessageChange(row.Username, row.ToMessage())).ToList();
    }

    public Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>>(Read(connection => connection.Query<(long Id, string? Events)>(
            "SELECT id, events FROM messages WHERE id IN (SELECT value FROM json_each(@ids))",
            new { ids = JsonSerializer.Serialize(ids) }).ToDictionary(row => row.Id, row => RequestEvents.Read(row.Events))));

    public Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, TimeSpan since, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<RequestEnd>>(Read(connection => connection.Query<(long Id, string? Code, string? Backend, string QueuedAt, string At, double? Seconds)>(
            """
            SELECT id, extra_metadata ->> '$.error_code', backend, queued_at, updated_at, CAST(extra_metadata ->> '$.result.duration_seconds' AS REAL)
            FROM messages
            WHERE status = @status AND queued_at IS NOT NULL AND queued_at > @after
            ORDER BY queued_at DESC, id DESC
            LIMIT @limit
            """,
            new { status, after = Write(_time.GetUtcNow() - since), limit }).Select(row =>
                new RequestEnd(row.Id, row.Code, row.Backend, Time(row.QueuedAt), Time(row.At), row.Seconds)).ToList()));
}
