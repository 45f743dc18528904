using Dapper;
using ImageQueue.Core.Messages.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages.Sqlite;

internal sealed class SqliteWriterTests
{
    private const long Normal = 1;
    private const long Full = 2;

    /// <summary>SQLite itself says how it will commit. By turns, since the pragma acts when it is compiled and not when it is run.</summary>
    [Test]
    public async Task Run_WaitsForTheDisk_UnlessTheWriteNeedNotSurviveAPowerCut()
    {
        using var folder = new TemporaryFolder();
        await using var writer = NewWriter(folder);
        var levels = new List<long>();

        foreach (var survives in new[] { true, false, true, false, false, true })
            levels.Add(await writer.RunAsync(session => session.Connection.ExecuteScalar<long>("PRAGMA synchronous"), CancellationToken.None, survives));

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
            writer.RunAsync(session => session.Connection.ExecuteScalar<long>("PRAGMA synchronous"), CancellationToken.None, survives)).ToList();
        both.Set();
        await first;

        Assert.That(await Task.WhenAll(levels), Is.EqualTo(new[] { Full, Full }));
    }

    private static SqliteWriter NewWriter(TemporaryFolder folder) => new(() =>
    {
        var connection = new SqliteConnection($"Data Source={Path.Combine(folder.Path, "a.db")};Pooling=False");
        connection.Open();
        connection.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
        return connection;
    });
}
