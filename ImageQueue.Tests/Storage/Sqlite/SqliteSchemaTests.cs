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

/// <summary>What becomes of a file that an earlier release wrote: <c>imagequeue-v1.db</c> is one, of a process that was killed while it generated.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteSchemaTests
{
    private TemporaryFolder _folder = null!;
    private SqliteMessageStore _store = null!;

    private string File => Path.Combine(_folder.Path, "imagequeue.db");

    /// <summary>A copy of the file.</summary>
    [SetUp]
    public void Copy()
    {
        _folder = new TemporaryFolder();
        System.IO.File.Copy(Path.Combine(Repository.Root, "ImageQueue.Tests", "Messages", "Sqlite", "imagequeue-v1.db"), File);
        _store = new SqliteMessageStore($"Data Source={File}", TimeProvider.System, new AsyncSignal());
    }

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DeleteAsync()
    {
        await _store.DisposeAsync();
        _folder.Dispose();
    }

    /// <summary>Every row is what it was, and goes on from there.</summary>
    [Test]
    public async Task Prepare_TakesOverAFileOfVersionOne()
    {
        await _store.PrepareAsync(CancellationToken.None);

        var rows = new[] { await _store.ListAsync("sohbet-1", 0, 10, CancellationToken.None), await _store.ListAsync("c2", 0, 10, CancellationToken.None) }.SelectMany(page => page).OrderBy(row => row.Id).ToList();
        Assert.That(
            rows.Select(row => (row.Id, row.Status, row.Attempt, row.Failures, row.Backend, row.Revision)),
            Is.EqualTo(new (long, string?, int, int, string?, long)[]
            {
                (1, null, 0, 0, null, 1), (2, "complete", 1, 0, null, 13), (3, "processing", 1, 0, null, 17),
                (4, "queued", 0, 0, null, 16), (5, "cancelled", 0, 0, null, 11), (6, "queued", 0, 0, null, 15),
            }));
        Assert.That((rows[2].Prompt, rows[2].Progress, rows[2].HangfireJobId, rows[2].IdempotencyKey), Is.EqualTo(("deniz", 1, "83d76414-8136-47c8-ad78-cd65692b6472", "k1")));

        Assert.That(
            () => _store.SubmitAsync(Request("ayşe"), new UserLimits(1), CancellationToken.None), Throws.TypeOf<TooManyPendingException>(), "6 waits");
        Assert.That(
            () => _store.SubmitAsync(Request("ayşe"), new UserLimits(2, MaxWork: 2.6), CancellationToken.None), Throws.TypeOf<TooManyPendingException>(), "6 asks for 2.62144 megapixel-steps");
        Assert.That(() => _store.RetryAsync(5, 1, new UserLimits(2, MaxWork: 23), CancellationToken.None), Throws.TypeOf<TooManyPendingException>(), "5 asks for 20.97152");
        Assert.That((await _store.SubmitAsync(Request("ayşe"), new UserLimits(2, MaxWork: 2.7), CancellationToken.None)).Message.Id, Is.EqualTo(7));

        Assert.That((await _store.RequeueAsync(3, 1, AttemptCharge.Failure, CancellationToken.None)).Message!.Failures, Is.EqualTo(1));
        Assert.That((await _store.ClaimAsync(4, rows[3].HangfireJobId!, "gpu1", null, CancellationToken.None)).Message!.Backend, Is.EqualTo("gpu1"));
        Assert.That(await _store.AcquireLeasesAsync("one", ["a"], TimeSpan.FromMinutes(1), CancellationToken.None), Has.Count.EqualTo(1));
    }

    /// <summary>The file is then what a new one would be: same tables, same indexes.</summary>
    [Test]
    public async Task Prepare_MakesTheSameTables_AsInANewFile()
    {
        await _store.PrepareAsync(CancellationToken.None);
        await using var fresh = new SqliteMessageStore($"Data Source={File}.new", TimeProvider.System, new AsyncSignal());
        await fresh.PrepareAsync(CancellationToken.None);

        Assert.That(Definitions(File), Is.EqualTo(Definitions(File + ".new")).And.Not.Empty);
        Assert.That(() => _store.PrepareAsync(CancellationToken.None), Throws.Nothing, "a second start has nothing to do");
    }

    /// <summary>A start that may change nothing says so.</summary>
    [Test]
    public async Task Prepare_RefusesAFileOfVersionOne_WhenItMayNotChangeIt()
    {
        await using var store = new SqliteMessageStore($"Data Source={File}", TimeProvider.System, new AsyncSignal(), applySchema: false);

        Assert.That(
            () => store.PrepareAsync(CancellationToken.None),
            Throws.TypeOf<SchemaException>().With.Message.Contains("schema 1").And.Message.Contains("Storage:ApplySchema"));
    }

    private static NewImageMessage Request(string username) => new("c9", username, new string('9', 32), "p", new JsonObject { ["width"] = 64, ["height"] = 64, ["steps"] = 1 }, 1, null);

    private static List<string> Definitions(string file)
    {
        using var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        return [.. connection.Query<string>("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"), .. connection.Query<string>("PRAGMA user_version")];
    }
}
