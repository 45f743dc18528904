using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken) =>
        ManyAsync<(string Name, string By, DateTimeOffset At), Pause>(
            "SELECT name, paused_by, paused_at FROM dbo.imagequeue_pauses ORDER BY name;", new StatementParameters(),
            row => new(row.Name, row.By, row.At), cancellationToken);

    // Of two concurrent ones the second gets a key error, is repeated, and finds the first one's row.
    public async Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            """
            INSERT INTO dbo.imagequeue_pauses (name, paused_by)
            SELECT @Name, @By
            WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_pauses WHERE name = @Name);
            """,
            new StatementParameters().AddText("@Name", name, LeaseSize).AddText("@By", by, 200),
            cancellationToken) == 1;

    public async Task<bool> ResumeAsync(string name, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "DELETE FROM dbo.imagequeue_pauses WHERE name = @Name;", new StatementParameters().AddText("@Name", name, LeaseSize),
            cancellationToken) == 1;

    public Task<FoundRequests> SearchFinishedAsync(
        RequestSearch search, FinishedCursor? place, bool isNewer, int span, int limit, CancellationToken cancellationToken)
    {
        var start = place ?? new FinishedCursor(DateTimeOffset.MaxValue, long.MaxValue);
        var parameters = new StatementParameters().Add("@FinishedAt", start.At.UtcDateTime).Add("@Id", start.Id)
            .Add("@Span", span - 1).Add("@Limit", limit).AddText("@Statuses", JsonSerializer.Serialize(search.Statuses));
        var (beyond, order, end) = isNewer ? (">", "ASC", "9999-12-31") : ("<", "DESC", "0001-01-01");
        var isBeyond =
            $"""
            finished_at IS NOT NULL AND finished_at {beyond}= @FinishedAt AND (finished_at {beyond} @FinishedAt OR id {beyond} @Id)
            """;
        var upTo = isNewer ? "<" : ">";
        var statement =
            $"""
            DECLARE @LastAt datetime2(3), @LastId bigint;
            SELECT @LastAt = finished_at, @LastId = id FROM dbo.messages WHERE {isBeyond}
            ORDER BY finished_at {order}, id {order} OFFSET @Span ROWS FETCH NEXT 1 ROWS ONLY;
            SELECT @LastAt, @LastId;
            SET @LastAt = ISNULL(@LastAt, '{end}');
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE {isBeyond} AND finished_at {upTo}= @LastAt AND (finished_at {upTo} @LastAt OR id {upTo}= @LastId)
                AND {HasStatus}{Fits(search, parameters)}
            ORDER BY finished_at {order}, id {order};
            """;
        return connections.RunAsync(
            async connection =>
            {
                await using var results = await connection.QueryMultipleAsync(Command(statement, parameters, cancellationToken));
                var last = await results.ReadSingleAsync<(DateTimeOffset? At, long? Id)>();
                var found = (await results.ReadAsync<Message>()).Select(message => new MessageChange(message));
                return new FoundRequests(
                    [.. isNewer ? found.Reverse() : found], last is ({ } at, { } id) ? new FinishedCursor(at, id) : null);
            },
            cancellationToken);
    }

    public Task<IReadOnlyList<MessageChange>> SearchUnfinishedAsync(RequestSearch search, int limit, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().Add("@Limit", limit).AddText("@Status", search.Statuses.Single(), 20);
        return ManyAsync<Message, MessageChange>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE queued_at IS NOT NULL AND status = @Status{Fits(search, parameters)}
            ORDER BY queued_at, id;
            """,
            parameters,
            message => new(message),
            cancellationToken);
    }

    public Task<IReadOnlyList<long>> ListMatchingAsync(RequestSearch search, long after, int limit, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().Add("@After", after).Add("@Limit", limit)
            .AddText("@Statuses", JsonSerializer.Serialize(search.Statuses));
        return ManyAsync<long>(
            $"SELECT TOP (@Limit) id FROM dbo.messages WHERE id > @After AND {HasStatus}{Fits(search, parameters)} ORDER BY id;",
            parameters, cancellationToken);
    }

    public Task<int> CountMatchingAsync(RequestSearch search, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().AddText("@Statuses", JsonSerializer.Serialize(search.Statuses));
        return ScalarAsync<int>(
            $"SELECT COUNT(*) FROM dbo.messages WHERE {HasStatus}{Fits(search, parameters)};", parameters, cancellationToken);
    }

    public Task<IReadOnlyList<WaitingUser>> ListWaitingUsersAsync(int limit, CancellationToken cancellationToken) =>
        ManyAsync<(string Username, int Count, DateTimeOffset Oldest, string? Job), WaitingUser>(
            """
            SELECT TOP (@Limit) username, COUNT(*), MIN(queued_at), MIN(CASE WHEN number = 1 THEN hangfire_job_id END)
            FROM (
                SELECT username, queued_at, hangfire_job_id,
                    ROW_NUMBER() OVER (PARTITION BY username ORDER BY queued_at, id) AS number
                FROM dbo.messages
                WHERE queued_at IS NOT NULL AND status = N'queued') AS waiting
            GROUP BY username ORDER BY COUNT(*) DESC, username;
            """,
            new StatementParameters().Add("@Limit", limit),
            row => new(row.Username, row.Count, row.Oldest, row.Job),
            cancellationToken);

    private const string HasStatus =
        """
        queued_at IS NOT NULL
            AND status IN (
                SELECT those.status COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Statuses) WITH (status nvarchar(20) '$') AS those)
        """;

    /// <summary>The conditions beside the statuses. Text is compared as <see cref="SearchText.Fold"/> does.</summary>
    private static string Fits(RequestSearch search, StatementParameters parameters)
    {
        var and = "";
        if (search.ErrorCode is { } code)
        {
            and += " AND JSON_VALUE(extra_metadata, N'$.\"error_code\"') = @Code";
            parameters.AddText("@Code", code, CodeSize);
        }

        if (search.Backend is { } backend)
        {
            and += " AND backend = @Backend";
            parameters.AddText("@Backend", backend, BackendSize);
        }

        if (search.Username is { } username)
        {
            and += $" AND LEFT({Folded("username")}, DATALENGTH(@Username) / 2) = @Username";
            parameters.AddName("@Username", SearchText.Fold(username)!);
        }

        if (search.Text?.Trim() is { Length: > 0 } text)
        {
            and += " AND (id = @Number OR job_id = @Text OR hangfire_job_id = @Text OR conversation_id = @Text"
                + $" OR CHARINDEX(@Folded, {Folded("JSON_VALUE(extra_metadata, N'$.\"prompt\"')")}) > 0)";
            parameters.AddText("@Text", text).AddText("@Folded", SearchText.Fold(text)!).Add(
                "@Number", long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1);
        }

        return and;
    }

    // REPLACE and not TRANSLATE, which the oldest compatibility levels lack; the collation folds all other letters.
    private static string Folded(string column) =>
        $"REPLACE(REPLACE({column} COLLATE Latin1_General_100_BIN2, N'İ', N'i'), N'ı', N'i') COLLATE Latin1_General_100_CI_AS";

    public async Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        (await ManyAsync<(long Id, string? Events)>(
            "SELECT id, events FROM dbo.messages WHERE id IN (SELECT those.id FROM OPENJSON(@Ids) WITH (id bigint '$') AS those);",
            new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids)),
            cancellationToken)).ToDictionary(row => row.Id, row => RequestEvents.Read(row.Events));

    public Task<IReadOnlyList<RequestError>> ListErrorsAsync(TimeSpan since, int limit, CancellationToken cancellationToken) =>
        ManyAsync<(long Id, string? Code, string? Backend, DateTimeOffset QueuedAt, DateTimeOffset At), RequestError>(
            """
            SELECT TOP (@Limit) id, JSON_VALUE(extra_metadata, N'$."error_code"'), backend, queued_at, finished_at
            FROM dbo.messages
            WHERE finished_at IS NOT NULL AND finished_at > DATEADD(second, -@Age, SYSUTCDATETIME()) AND status = N'error'
            ORDER BY finished_at DESC, id DESC;
            """,
            new StatementParameters().Add("@Age", (int)since.TotalSeconds).Add("@Limit", limit),
            row => new(row.Id, row.Code, row.Backend, row.QueuedAt, row.At),
            cancellationToken);
}
