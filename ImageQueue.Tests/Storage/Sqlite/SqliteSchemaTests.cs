using System.Security.Cryptography;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.Sqlite;

/// <summary>What a start makes of a file: a new one, one of another release, one that it may not change.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteSchemaTests
{
    private TemporaryFolder _folder = null!; // Set before each test.

    private string Database => Path.Combine(_folder.Path, "imagequeue.db");

    [SetUp]
    public void SetUp() => _folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public async Task Prepare_CreatesTheTablesOnce_WhenTheFileIsNew()
    {
        await PrepareAsync();
        var created = Definitions();
        await PrepareAsync();

        Assert.That(created, Has.Some.StartsWith("CREATE TABLE messages").And.Some.StartsWith("CREATE TABLE statistics_samples"));
        Assert.That(created[^1], Is.EqualTo($"{SqliteSchema.Version}"));
        Assert.That(Definitions(), Is.EqualTo(created));
    }

    [Test]
    public void Prepare_NamesTheSetting_WhenTablesAreMissingAndMayNotBeCreated() =>
        Assert.That(
            () => PrepareAsync(applySchema: false),
            Throws.TypeOf<SchemaException>().With.Message.Contains("has no ImageQueue tables").And.Message.Contains("Storage:ApplySchema"));

    /// <summary>Back to an older release: it says why it does not start, and leaves the file as it is.</summary>
    [Test]
    public async Task Prepare_LeavesTheFile_WhenANewerReleaseWroteIt()
    {
        await PrepareAsync();
        using (var newer = Open())
            await newer.ExecuteAsync($"PRAGMA user_version = {SqliteSchema.Version + 1}; PRAGMA wal_checkpoint(TRUNCATE);");
        var bytes = SHA256.HashData(await File.ReadAllBytesAsync(Database));

        Assert.That(
            () => PrepareAsync(),
            Throws.TypeOf<SchemaException>().With.Message.Contains(
                $"was written by a newer ImageQueue (schema {SqliteSchema.Version + 1}, this one knows {SqliteSchema.Version}). Start "
                    + $"the newer release"));
        Assert.That(SHA256.HashData(await File.ReadAllBytesAsync(Database)), Is.EqualTo(bytes));
    }

    private async Task PrepareAsync(bool applySchema = true)
    {
        await using var store = new SqliteMessageStore($"Data Source={Database}", TimeProvider.System, new AsyncSignal(), applySchema);
        await store.PrepareAsync(CancellationToken.None);
    }

    private SqliteConnection Open()
    {
        var connection = new SqliteConnection($"Data Source={Database};Pooling=False");
        connection.Open();
        return connection;
    }

    private List<string> Definitions()
    {
        using var connection = Open();
        return [
            .. connection.Query<string>("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"),
            .. connection.Query<string>("PRAGMA user_version")];
    }
}
