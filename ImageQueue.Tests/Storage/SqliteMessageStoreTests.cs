using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>The store's contract on SQLite.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteMessageStoreTests : MessageStoreContract
{
    private protected override async Task<IStoreDatabase> CreateDatabaseAsync()
    {
        var database = new SqliteStoreDatabase();
        await database.PrepareAsync();
        return database;
    }
}
