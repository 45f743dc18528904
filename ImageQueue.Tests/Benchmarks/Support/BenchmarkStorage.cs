using System.Data.Common;
using Dapper;
using Hangfire;
using Hangfire.InMemory;
using Hangfire.SqlServer;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using Microsoft.Data.SqlClient;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>One of the two storages with an empty database of its own, as the product uses it and as a bare application would.</summary>
internal abstract class BenchmarkStorage : IAsyncDisposable
{
    private const string Sqlite = "SQLite";
    private const string SqlServer = "SQL Server";

    /// <summary>SQLite always; SQL Server where one is given.</summary>
    public static IEnumerable<string> Names => SqlServerStoreDatabase.IsGiven ? [Sqlite, SqlServer] : [Sqlite];

    /// <summary>
    /// SQLite, for what differs by no storage. A fixture with a source, as all benchmarks are: of the others the adapter leaves out the
    /// explicit ones when it is asked for a category.
    /// </summary>
    public static IEnumerable<string> Embedded => [Sqlite];

    public TemporaryFolder Folder { get; } = new();

    /// <summary>The settings of an app on this database.</summary>
    public abstract Dictionary<string, string?> Settings { get; }

    /// <summary>The same, as a process takes them.</summary>
    public Dictionary<string, string> Environment =>
        Settings.ToDictionary(setting => setting.Key.Replace(":", "__", StringComparison.Ordinal), setting => setting.Value!);

    /// <summary>Whether Hangfire's jobs end with the process.</summary>
    public abstract bool IsEmbedded { get; }

    /// <summary>Makes the product's tables.</summary>
    public static async Task<BenchmarkStorage> CreateAsync(string name)
    {
        if (name == SqlServer)
            return new OnSqlServer(await SqlServerStoreDatabase.CreateAsync());
        var database = new SqliteStoreDatabase();
        await database.PrepareAsync();
        return new OnSqlite(database);
    }

    /// <summary>A store, as a process of its own has one.</summary>
    public abstract OpenStore Open(AsyncSignal signal);

    /// <summary>As applications do it: a pooled connection for each call, as durable as the store's.</summary>
    public abstract Task<DbConnection> ConnectAsync();

    /// <summary>A bare Hangfire on this database.</summary>
    public abstract JobStorage Hangfire();

    /// <summary>A table for what a bare application inserts.</summary>
    public abstract Task CreateBareTableAsync();

    /// <summary>
    /// Adds queued requests without Hangfire jobs, a hundred a second, as copies of the one that is there. By SQL: so many submits would
    /// take their time.
    /// </summary>
    public abstract Task FillAsync(int count);

    public async Task<T> WithConnectionAsync<T>(Func<DbConnection, Task<T>> work)
    {
        await using var connection = await ConnectAsync();
        return await work(connection);
    }

    public virtual ValueTask DisposeAsync()
    {
        Folder.Dispose();
        return ValueTask.CompletedTask;
    }

    private sealed class OnSqlite(SqliteStoreDatabase database) : BenchmarkStorage
    {
        public override Dictionary<string, string?> Settings => new() { ["ConnectionStrings:ImageQueue"] = database.ConnectionString };

        public override bool IsEmbedded => true;

        public override OpenStore Open(AsyncSignal signal) => database.Open(TimeProvider.System, signal);

        public override async Task<DbConnection> ConnectAsync()
        {
            var connection = new SqliteConnection($"{database.ConnectionString};Default Timeout=60");
            await connection.OpenAsync();
            await connection.ExecuteAsync("PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
            return connection;
        }

        public override JobStorage Hangfire() => new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid });

        public override Task CreateBareTableAsync() => WithConnectionAsync(connection => connection.ExecuteAsync(
            "CREATE TABLE bare (id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, username TEXT NOT NULL, prompt TEXT NOT NULL, "
                + "metadata TEXT NOT NULL, created_at TEXT NOT NULL)"));

        public override Task FillAsync(int count) => WithConnectionAsync(connection => connection.ExecuteAsync(
            """
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @count)
            INSERT INTO messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, username, work,
                revision)
            SELECT conversation_id, role, content, json_set(extra_metadata, '$.job_id', printf('%032x', i + 1000)), created_at, updated_at,
                strftime('%Y-%m-%dT%H:%M:%fZ', queued_at, ((i - @count) / 100.0) || ' seconds'), 'u' || (i % 50000), 21, (SELECT
                    max(revision) FROM messages) + i
            FROM messages, n WHERE id = (SELECT min(id) FROM messages);
            """,
            new { count }));

        public override async ValueTask DisposeAsync()
        {
            SqliteConnection.ClearAllPools();
            await database.DisposeAsync();
            await base.DisposeAsync();
        }
    }

    private sealed class OnSqlServer(SqlServerStoreDatabase database) : BenchmarkStorage
    {
        public override Dictionary<string, string?> Settings => new()
        {
            ["Storage:Provider"] = "SqlServer",
            ["ConnectionStrings:ImageQueue"] = database.ConnectionString,
        };

        public override bool IsEmbedded => false;

        public override OpenStore Open(AsyncSignal signal) => database.Open(TimeProvider.System, signal);

        public override async Task<DbConnection> ConnectAsync()
        {
            var connection = new SqlConnection(database.ConnectionString);
            await connection.OpenAsync();
            return connection;
        }

        public override JobStorage Hangfire()
        {
            var ours = new SqlServerDatabase(database.ConnectionString, applySchema: false, NullLogger.Instance);
            return new SqlServerStorage(ours.ConnectionString, ours.HangfireOptions);
        }

        public override Task CreateBareTableAsync() => database.ExecuteAsync(
            "CREATE TABLE dbo.bare (id bigint IDENTITY (1, 1) PRIMARY KEY, conversation_id nvarchar(100) NOT NULL, username "
                + "nvarchar(100) NOT NULL, prompt nvarchar(4000) NOT NULL, metadata nvarchar(max) NOT NULL, created_at nvarchar(40) NOT "
                    + "NULL)");

        public override Task FillAsync(int count) => database.ExecuteAsync(
            """
            WITH n AS (SELECT TOP (@count) ROW_NUMBER() OVER (ORDER BY (SELECT NULL)) AS i FROM sys.all_columns AS a CROSS JOIN
                sys.all_columns AS b)
            INSERT INTO dbo.messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, username, work)
            SELECT one.conversation_id, one.role, one.content, JSON_MODIFY(one.extra_metadata, N'$.job_id', RIGHT(REPLICATE(N'0', 32) +
                CAST(n.i AS nvarchar(20)), 32)),
                one.created_at, one.updated_at, DATEADD(millisecond, (n.i - @count) * 10, one.queued_at), CONCAT(N'u', n.i % 50000), 21
            FROM dbo.messages AS one CROSS JOIN n WHERE one.id = (SELECT MIN(id) FROM dbo.messages);
            """,
            new { count });

        public override async ValueTask DisposeAsync()
        {
            await database.DisposeAsync();
            await base.DisposeAsync();
        }
    }
}
