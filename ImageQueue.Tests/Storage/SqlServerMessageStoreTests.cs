using ImageQueue.Tests.Support;

namespace ImageQueue.Tests.Storage;

/// <summary>The store's contract on SQL Server, where one is given.</summary>
[SqlServerFixture]
public sealed class SqlServerMessageStoreTests : MessageStoreContract
{
    private protected override async Task<IStoreDatabase> CreateDatabaseAsync() => await SqlServerStoreDatabase.CreateAsync();
}
