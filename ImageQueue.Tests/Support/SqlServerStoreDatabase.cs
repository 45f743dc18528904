using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.SqlServer;
using Microsoft.Data.SqlClient;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>
/// A database of its own on the server that <c>IMAGEQUEUE_TEST_SQLSERVER</c> names; made by the product's scripts, dropped at the end.
/// </summary>
internal sealed class SqlServerStoreDatabase : IStoreDatabase
{
    public const string Variable = "IMAGEQUEUE_TEST_SQLSERVER";

    private readonly SqlServerDatabase _database;

    private SqlServerStoreDatabase(string connectionString)
    {
        ConnectionString = connectionString;
        _database = new SqlServerDatabase(connectionString, applySchema: true, NullLogger.Instance);
    }

    public string ConnectionString { get; }

    /// <summary>Whether there is a server to test on.</summary>
    public static bool IsGiven => !string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable(Variable));

    /// <summary>Makes the database. For fixtures that are a <see cref="SqlServerFixtureAttribute"/>.</summary>
    public static async Task<SqlServerStoreDatabase> CreateAsync()
    {
        if (!IsGiven)
            Assert.Ignore($"Set {Variable} to run this.");
        var own =
            new SqlConnectionStringBuilder(Environment.GetEnvironmentVariable(Variable))
            {
                InitialCatalog = $"imagequeue_test_{Guid.NewGuid():N}",
            };
        var database = new SqlServerStoreDatabase(own.ConnectionString);
        await database._database.PrepareAsync(CancellationToken.None);
        return database;
    }

    public Task EmptyAsync() =>
        ExecuteAsync(
            """
            DELETE FROM dbo.messages; DELETE FROM dbo.conversations; DELETE FROM dbo.imagequeue_leases;
            DELETE FROM dbo.imagequeue_uploads; DELETE FROM dbo.imagequeue_statistics_samples; DELETE FROM dbo.imagequeue_statistics;
            """);

    public bool HasOwnClock => true;

    public Task SetMetadataAsync(long id, string? metadata) => ExecuteAsync(
        """
        ALTER TABLE dbo.messages NOCHECK CONSTRAINT CK_messages_extra_metadata;
        UPDATE dbo.messages SET extra_metadata = @metadata WHERE id = @id;
        ALTER TABLE dbo.messages CHECK CONSTRAINT CK_messages_extra_metadata;
        """,
        new { id, metadata });

    public Task AgeAsync(long id, TimeSpan by) => ExecuteAsync(
        // In two parts: DATEADD takes an int, and milliseconds in one end at 24.8 days.
        """
        UPDATE dbo.messages SET
            heartbeat_at = DATEADD(millisecond, -@milliseconds, DATEADD(second, -@seconds, heartbeat_at)),
            queued_at = DATEADD(millisecond, -@milliseconds, DATEADD(second, -@seconds, queued_at)),
            finished_at = DATEADD(millisecond, -@milliseconds, DATEADD(second, -@seconds, finished_at)),
            deleted_at = DATEADD(millisecond, -@milliseconds, DATEADD(second, -@seconds, deleted_at))
        WHERE id = @id;
        """,
        new { id, seconds = (int)by.TotalSeconds, milliseconds = by.Milliseconds });

    public OpenStore Open(TimeProvider time, AsyncSignal signal) =>
        new(new SqlServerMessageStore(_database.Connections, time, signal), Nothing.ToDispose);

    public async Task ExecuteAsync(string sql, object? parameters = null)
    {
        await using var connection = new SqlConnection(ConnectionString);
        await connection.ExecuteAsync(sql, parameters);
    }

    public async ValueTask DisposeAsync()
    {
        SqlConnection.ClearAllPools();
        var name = new SqlConnectionStringBuilder(ConnectionString).InitialCatalog;
        await using var connection = new SqlConnection(
            new SqlConnectionStringBuilder(ConnectionString) { InitialCatalog = "master" }.ConnectionString);
        await connection.ExecuteAsync($"ALTER DATABASE [{name}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [{name}];");
    }

    private sealed class Nothing : IAsyncDisposable
    {
        public static Nothing ToDispose { get; } = new();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
