using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Tests.Support;

/// <summary>A database that belongs to one fixture and goes with it: what a contract's tests run on, whichever store it is.</summary>
internal interface IStoreDatabase : IAsyncDisposable
{
    /// <summary>Leaves no row in it.</summary>
    Task EmptyAsync();

    /// <summary>Whether places in the queue and heartbeats are by a clock of the server's own, not by the store's.</summary>
    bool HasOwnClock { get; }

    /// <summary>Writes metadata past every store, as a DBA may; what the table's own rules refuse, too.</summary>
    Task SetMetadataAsync(long id, string? metadata);

    /// <summary>Makes it so much longer ago that the row was queued, its worker was heard of, or it was erased.</summary>
    Task AgeAsync(long id, TimeSpan by);

    /// <summary>A store on it, as another process would have one. The caller disposes it.</summary>
    OpenStore Open(TimeProvider time, AsyncSignal signal);
}

/// <summary>A store with the end of its life.</summary>
internal sealed record OpenStore(IMessageStore Store, IAsyncDisposable Lifetime) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Lifetime.DisposeAsync();
}

/// <summary>A SQLite file in the folder for temporary files.</summary>
internal sealed class SqliteStoreDatabase : IStoreDatabase
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("imagequeue-store-");

    public string ConnectionString => $"Data Source={Path.Combine(_folder.FullName, "imagequeue.db")}";

    public async Task PrepareAsync()
    {
        await using var store = new SqliteMessageStore(ConnectionString, TimeProvider.System, new AsyncSignal());
        await store.PrepareAsync(CancellationToken.None);
    }

    public Task EmptyAsync() =>
        ExecuteAsync(
            "DELETE FROM messages; DELETE FROM conversations; DELETE FROM uploads; DELETE FROM leases; DELETE FROM statistics_samples; "
            + "DELETE FROM statistics");

    public bool HasOwnClock => false;

    public Task SetMetadataAsync(long id, string? metadata) =>
        ExecuteAsync(
            """
            PRAGMA ignore_check_constraints = ON;
            UPDATE messages SET extra_metadata = @metadata WHERE id = @id;
            PRAGMA ignore_check_constraints = OFF
            """,
            new { id, metadata });

    public Task AgeAsync(long id, TimeSpan by) => ExecuteAsync(
        """
        UPDATE messages SET
            heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', heartbeat_at, @by), queued_at = strftime('%Y-%m-%dT%H:%M:%fZ', queued_at, @by),
            finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', finished_at, @by), deleted_at = strftime('%Y-%m-%dT%H:%M:%fZ', deleted_at, @by)
        WHERE id = @id
        """,
        new { id, by = string.Create(CultureInfo.InvariantCulture, $"-{by.TotalSeconds} seconds") });

    public OpenStore Open(TimeProvider time, AsyncSignal signal)
    {
        var store = new SqliteMessageStore(ConnectionString, time, signal);
        return new OpenStore(store, store);
    }

    private async Task ExecuteAsync(string sql, object? parameters = null)
    {
        using var connection = new SqliteConnection(ConnectionString);
        await connection.ExecuteAsync(sql, parameters);
    }

    public ValueTask DisposeAsync()
    {
        using (var connection = new SqliteConnection(ConnectionString))
            SqliteConnection.ClearPool(connection);
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }
}
