using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.Sqlite;

/// <summary>A file of each version that there has been, with rows, taken over by this one; and one of a release to come.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class SqliteUpgradeTests
{
    private const string Rows =
        """
        INSERT INTO conversations (id, username, title, created_at) VALUES ('c1', 'ayşe', 'Kediler', '2026-11-01T00:00:00.000Z');
        INSERT INTO messages (conversation_id, role, content, extra_metadata, created_at, updated_at, hangfire_job_id, idempotency_key, attempt, queued_at, revision) VALUES
            ('c1', 'user', 'merhaba 🌹', '{"client":{"a":1}}', '2026-11-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z', NULL, NULL, 0, NULL, 1),
            ('c1', 'bot', 'done', '{"status":"complete","progress":100,"job_id":"00000000000000000000000000000002","prompt":"p","settings":{}}', '2026-11-01T00:00:01.000Z', '2026-11-01T00:00:09.000Z', 'h2', 'k2', 1, '2026-11-01T00:00:01.000Z', 5),
            ('c1', 'bot', '[IMAGE_PENDING]', '{"status":"processing","progress":40,"job_id":"00000000000000000000000000000003","prompt":"p","settings":{}}', '2026-11-01T00:00:02.000Z', '2026-11-01T00:00:09.000Z', 'h3', NULL, 1, '2026-11-01T00:00:02.000Z', 6),
            ('c1', 'bot', '[IMAGE_PENDING]', '{"status":"queued","progress":0,"queue_position":1,"job_id":"00000000000000000000000000000004","prompt":"p","settings":{}}', '2026-11-01T00:00:03.000Z', '2026-11-01T00:00:03.000Z', 'h4', NULL, 0, '2026-11-01T00:00:03.000Z', 4);
        """;

    /// <summary>Read as they were written, in columns that every version has.</summary>
    private const string Read = "SELECT id || '|' || role || '|' || content || '|' || extra_metadata || '|' || created_at || '|' || updated_at || '|' || ifnull(hangfire_job_id, '') || '|' || ifnull(idempotency_key, '') || '|' || attempt || '|' || ifnull(queued_at, '') || '|' || revision FROM messages ORDER BY id";

    private TemporaryFolder _folder = null!; // Set before each test.

    private string Database => Path.Combine(_folder.Path, "imagequeue.db");

    private static IEnumerable<int> Versions => Enumerable.Range(1, SqliteSchema.Version - 1);

    [SetUp]
    public void SetUp() => _folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    /// <summary>No row is lost or changed, the file is what a new one would be, and work goes on in it.</summary>
    [TestCaseSource(nameof(Versions))]
    public async Task Prepare_KeepsEveryRow_OfAFileOfVersion(int version)
    {
        List<string> before;
        using (var old = Open(Database))
        {
            for (var step = 1; step <= version; step++)
                await old.ExecuteAsync(SqliteSchema.StepTo(step));
            await old.ExecuteAsync($"PRAGMA user_version = {version}; {Rows}");
            before = [.. await old.QueryAsync<string>(Read)];
        }

        await using var store = new SqliteMessageStore($"Data Source={Database}", TimeProvider.System, new AsyncSignal());
        await store.PrepareAsync(CancellationToken.None);

        using (var file = Open(Database))
            Assert.That(await file.QueryAsync<string>(Read), Is.EqualTo(before).And.Count.EqualTo(4));
        await using var fresh = new SqliteMessageStore($"Data Source={Database}.new", TimeProvider.System, new AsyncSignal());
        await fresh.PrepareAsync(CancellationToken.None);
        Assert.That(Definitions(Database), Is.EqualTo(Definitions(Database + ".new")));
        Assert.That((await store.ClaimAsync(4, "h4", "gpu1", null, CancellationToken.None)).Message?.Status, Is.EqualTo(MessageStatus.Processing));
        Assert.That((await store.RequeueAsync(3, 1, AttemptCharge.None, CancellationToken.None)).Message?.Status, Is.EqualTo(MessageStatus.Queued));
        var next = await store.SubmitAsync(new NewImageMessage("c1", "ayşe", new string('5', 32), "p", new JsonObject(), 1, null), UserLimits.None, CancellationToken.None);
        Assert.That(next.Message.Id, Is.EqualTo(5));
    }

    /// <summary>Back to an older release: it says why it does not start, and leaves the file as it is.</summary>
    [Test]
    public async Task Prepare_RefusesAFileOfANewerRelease_AndLeavesIt()
    {
        await using (var store = new SqliteMessageStore($"Data Source={Database}", TimeProvider.System, new AsyncSignal()))
            await store.PrepareAsync(CancellationToken.None);
        using (var newer = Open(Database))
            await newer.ExecuteAsync($"PRAGMA user_version = {SqliteSchema.Version + 1}; {Rows} PRAGMA wal_checkpoint(TRUNCATE);");
        var bytes = SHA256.HashData(await File.ReadAllBytesAsync(Database));

        await using (var older = new SqliteMessageStore($"Data Source={Database}", TimeProvider.System, new AsyncSignal()))
        {
            Assert.That(
                () => older.PrepareAsync(CancellationToken.None),
                Throws.TypeOf<SchemaException>().With.Message.Contains($"was written by a newer ImageQueue (schema {SqliteSchema.Version + 1}, this one knows {SqliteSchema.Version}). Start the newer release"));
        }

        Assert.That(SHA256.HashData(await File.ReadAllBytesAsync(Database)), Is.EqualTo(bytes));
    }

    private static SqliteConnection Open(string file)
    {
        var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        return connection;
    }

    private static List<string> Definitions(string file)
    {
        using var connection = Open(file);
        return [.. connection.Query<string>("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"), .. connection.Query<string>("PRAGMA user_version")];
    }
}
