using Hangfire;
using Hangfire.SqlServer;
using ImageQueue.Core.Messages.SqlServer;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The queue in Hangfire's tables, where a server is given.</summary>
[SqlServerFixture]
internal sealed class SqlServerQueueOrderContractTests : QueueOrderContract
{
    private SqlServerStoreDatabase? _database;

    private protected override bool GivesBackToTail => false;

    private protected override bool PassesOverSecondEntries => false;

    private protected override async Task<QueueHost> CreateHostAsync()
    {
        _database = await SqlServerStoreDatabase.CreateAsync();
        var database = new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance);
        var storage = new SqlServerStorage(database.ConnectionString, database.HangfireOptions);
        var order = new SqlServerQueueOrder(database.Connections, TimeSpan.FromMinutes(5), NullLogger.Instance);
        return new QueueHost(storage, QueueHost.Clock(), new SqlServerQueueReader(order, new PagingQueueReader(storage)));
    }

    [TearDown]
    public async Task DropAsync()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }
}
