using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>A fixture with a database of its own.</summary>
public abstract class StoreContract(bool isOnSqlServer)
{
    /// <summary>Set before any test runs.</summary>
    private protected IStoreDatabase Database { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task CreateAsync()
    {
        if (isOnSqlServer)
        {
            Database = await SqlServerStoreDatabase.CreateAsync();
            return;
        }

        var database = new SqliteStoreDatabase();
        await database.PrepareAsync();
        Database = database;
    }

    [OneTimeTearDown]
    public async Task DropAsync()
    {
        if (Database is not null)
            await Database.DisposeAsync();
    }
}
