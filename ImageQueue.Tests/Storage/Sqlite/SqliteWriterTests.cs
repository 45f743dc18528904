using Dapper;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.Sqlite;

[Category(Categories.Store)]
internal sealed class SqliteWriterTests
{
    private const long Normal = 1;
    private const long Full = 2;
    private const int BlobBytes = 3000;

    /// <summary>
    /// SQLite itself says how it will commit. By turns, since the pragma acts when it is compiled and not when it is run.
    /// </summary>
    [Test]
    public async Task Run_WaitsForTheDisk_UnlessTheWriteNeedNotSurviveAPowerCut()
    {
        using var folder = new TemporaryFolder();
        await using var writer = NewWriter(folder);
        var levels = new List<long>();

        foreach (var survives in new[] { true, false, true, false, false, true })
        {
            levels.Add(
                await writer.RunAsync(
                    session => session.Connection.ExecuteScalar<long>("PRAGMA synchronous"), CancellationToken.None, survives));
        }

        Assert.That(levels, Is.EqualTo(new[] { Full, Normal, Full, Normal, Normal, Full }));
    }

    /// <summary>One that must be on the disk takes the others of its commit with it.</summary>
    [Test]
    public async Task Run_WaitsForTheDisk_WhenOneOfACommitMustSurvive()
    {
        using var folder = new TemporaryFolder();
        await using var writer = NewWriter(folder);
        using var both = new ManualResetEventSlim();
        using var isCommitting = new ManualResetEventSlim();

        // While this one commits, two others come, and share the next commit.
        var first = Task.Run(() => writer.RunAsync(
            _ =>
            {
                isCommitting.Set();
                both.Wait();
                return 0;
            },
            CancellationToken.None));
        isCommitting.Wait();
        var levels = new[] { false, true }.Select(survives =>
            writer.RunAsync(
                session => session.Connection.ExecuteScalar<long>("PRAGMA synchronous"), CancellationToken.None, survives)).ToList();
        both.Set();
        await first;

        Assert.That(await Task.WhenAll(levels), Is.EqualTo(new[] { Full, Full }));
    }

    /// <summary>The log is brought into the file long before SQLite would do it within a commit, which it does at 1,000 pages.</summary>
    [Test]
    public async Task Log_IsBroughtIntoTheFile_BesideTheWriter()
    {
        using var folder = new TemporaryFolder();
        await using var writer = NewWriter(folder);

        await WriteAsync(writer, SqliteCheckpoints.CommitsBetween);

        var file = new FileInfo(Path.Combine(folder.Path, "a.db"));
        await Until.TrueAsync(
            () =>
            {
                file.Refresh();
                return Task.FromResult(file.Length >= SqliteCheckpoints.CommitsBetween * BlobBytes);
            },
            "the file has it");
    }

    [Test]
    public async Task Writes_GoOn_WhenTheLogCannotBeBroughtIntoTheFile()
    {
        using var folder = new TemporaryFolder();
        var opened = 0;
        var open = Opening(folder);
        await using var writer = new SqliteWriter(
            () => Interlocked.Increment(ref opened) == 2 ? throw new SqliteException("disk I/O error", 10) : open(), TimeProvider.System);

        await WriteAsync(writer, SqliteCheckpoints.CommitsBetween);
        await Until.TrueAsync(() => opened == 2, "it was tried");
        await WriteAsync(writer, SqliteCheckpoints.CommitsBetween);
        await Until.TrueAsync(() => opened == 3, "it is tried again, by a connection of its own");

        var rows = await writer.RunAsync(
            session => session.Connection.ExecuteScalar<int>("SELECT count(*) FROM blobs"), CancellationToken.None);
        Assert.That(rows, Is.EqualTo(2 * SqliteCheckpoints.CommitsBetween));
    }

    private static async Task WriteAsync(SqliteWriter writer, int commits)
    {
        for (var i = 0; i < commits; i++)
        {
            await writer.RunAsync(
                session =>
                    session.Connection.Execute(
                        $"CREATE TABLE IF NOT EXISTS blobs (blob BLOB); INSERT INTO blobs VALUES (zeroblob({BlobBytes}))"),
                CancellationToken.None,
                survivesPowerCut: false);
        }
    }

    private static SqliteWriter NewWriter(TemporaryFolder folder) => new(Opening(folder), TimeProvider.System);

    private static Func<SqliteConnection> Opening(TemporaryFolder folder) => () =>
    {
        var connection = new SqliteConnection($"Data Source={Path.Combine(folder.Path, "a.db")};Pooling=False");
        connection.Open();
        connection.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
        return connection;
    };
}
