using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using Microsoft.Data.SqlClient;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>The scripts on a real server, and the rights they give.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
public sealed class SqlServerSchemaTests
{
    private SqlServerStoreDatabase _database = null!;

    /// <summary>A database made by the scripts.</summary>
    [SetUp]
    public async Task CreateAsync() => _database = await SqlServerStoreDatabase.CreateAsync();

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DropAsync()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }

    /// <summary>Nothing is missing after the scripts, and a second run has nothing to do.</summary>
    [Test]
    public async Task Apply_LeavesNothingMissing_AndRunsOnce()
    {
        using var log = new LogRecorder();
        var database = new SqlServerDatabase(_database.ConnectionString, applySchema: true, log.CreateLogger("schema"));

        Assert.That((await database.CheckSchemaAsync(default)).Missing, Is.Empty);
        await database.PrepareAsync(default);
        Assert.That(log.Of(LogLevel.Information), Has.None.Contains("Running"));
    }

    /// <summary>Each script may be run again at any time.</summary>
    [Test]
    public async Task Scripts_MayRunAgain()
    {
        foreach (var batch in SchemaScripts.All.Append(SchemaScripts.Hangfire).SelectMany(script => script.Batches))
            await _database.ExecuteAsync(batch);

        Assert.That(
            (await new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance).CheckSchemaAsync(default))
                .Missing,
            Is.Empty);
    }

    /// <summary>Storage:ApplySchema=false on a database that no journal knows of.</summary>
    [Test]
    public async Task Prepare_Succeeds_WithoutAJournal()
    {
        await _database.ExecuteAsync("DROP TABLE dbo.imagequeue_scripts;");

        Assert.That(
            () => new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance).PrepareAsync(default),
            Throws.Nothing);
    }

    /// <summary>The start stops with the script's name; applying mends it.</summary>
    [TestCase("DROP TABLE dbo.messages;", "table dbo.messages (script 2026-11-29_01_tables.sql)")]
    [TestCase(
        "DROP INDEX IX_messages_status ON dbo.messages; ALTER TABLE dbo.messages DROP COLUMN heartbeat_at;",
        "column dbo.messages.heartbeat_at")]
    [TestCase("DROP TABLE HangFire.[Schema];", "Hangfire's tables")]
    public async Task Prepare_NamesWhatIsMissing(string damage, string says)
    {
        await _database.ExecuteAsync(damage);

        Assert.That(
            () => new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance).PrepareAsync(default),
            Throws.TypeOf<SchemaException>().With.Message.Contains(says));
    }

    /// <summary>Two processes that start at once on an empty database.</summary>
    [Test]
    public async Task Prepare_Succeeds_WhenTwoProcessesApplyAtOnce()
    {
        await _database.ExecuteAsync("DROP TABLE dbo.messages; DROP TABLE dbo.conversations; DROP TABLE dbo.imagequeue_scripts;");

        await Task.WhenAll(Enumerable.Range(0, 2).Select(_ =>
            new SqlServerDatabase(_database.ConnectionString, applySchema: true, NullLogger.Instance).PrepareAsync(default)));

        Assert.That(
            (await new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance).CheckSchemaAsync(default))
                .Missing,
            Is.Empty);
    }

    /// <summary>The app's role is enough for the app, and for no more.</summary>
    [Test]
    public async Task AppRole_MayDoAllThatTheAppDoes_AndNoMore()
    {
        var login = $"imagequeue_test_{Guid.NewGuid():N}";
        var password = $"Aa1!{Guid.NewGuid():N}";
        await _database.ExecuteAsync(
            $"CREATE LOGIN [{login}] WITH PASSWORD = N'{password}', CHECK_POLICY = OFF; CREATE USER [{login}] FOR LOGIN [{login}]; "
            + $"ALTER ROLE imagequeue_app ADD MEMBER [{login}];");
        try
        {
            var own =
                new SqlConnectionStringBuilder(_database.ConnectionString)
                {
                    UserID = login,
                    Password = password,
                    IntegratedSecurity = false,
                }.ConnectionString;
            var database = new SqlServerDatabase(own, applySchema: false, NullLogger.Instance);
            await database.PrepareAsync(default);
            var store = new SqlServerMessageStore(database.Connections, TimeProvider.System, new AsyncSignal());

            var submitted = await store.SubmitAsync(
                new NewImageMessage("c", "u", new string('a', 32), "p", [], 1, "k"), new UserLimits(20), default);
            Assert.That((await store.ClaimAsync(submitted.Message.Id, "1", null, null, default)).Applied, Is.True);
            Assert.That(await store.ChangesSinceAsync(0, null, 10, default), Has.Count.EqualTo(1));
            await using var connection = new SqlConnection(own);
            await connection.OpenAsync();
            foreach (var refused in new[]
            {
                "DELETE FROM dbo.imagequeue_leases;", "DELETE FROM dbo.data_protection_keys;", "DROP TABLE dbo.messages;",
                "CREATE TABLE dbo.x (id int);",
            })
            {
                await using var command = new SqlCommand(refused, connection);
                Assert.That(() => command.ExecuteNonQueryAsync(), Throws.TypeOf<SqlException>(), refused);
            }
        }
        finally
        {
            SqlConnection.ClearAllPools();
            await _database.ExecuteAsync($"DROP USER [{login}]; DROP LOGIN [{login}];");
        }
    }

    /// <summary>A caller learns that a password is wrong, in a sentence.</summary>
    [Test]
    public void Connections_SayThatTheLoginIsRefused()
    {
        var wrong =
            new SqlConnectionStringBuilder(_database.ConnectionString)
            {
                UserID = "unknown",
                Password = "Wrong-1",
                IntegratedSecurity = false,
            };

        Assert.That(
            () => new SqlServerDatabase(wrong.ConnectionString, applySchema: false, NullLogger.Instance).PrepareAsync(default),
            Throws.TypeOf<StoreUnavailableException>().With.Message.Contains("refuses the login"));
    }
}
