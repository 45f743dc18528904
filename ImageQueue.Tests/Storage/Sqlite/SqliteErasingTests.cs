using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.Sqlite;

/// <summary>What is erased is in no page of the file any more, free or not, and not in the log beside it.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteErasingTests
{
    /// <summary>Rows that grew, moved from page to page and overflowed before they were erased.</summary>
    /// <remarks>
    /// SQLite leaves bytes of a moved row in a page's unallocated gap now and then (btree.c, rebuildPage), with seed 7 here: only VACUUM
    /// removes those.
    /// </remarks>
    [Test]
    public async Task Erased_IsNowhereInTheFiles_HoweverOftenItMoved()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "imagequeue.db");
        await using var store = new SqliteMessageStore($"Data Source={file}", TimeProvider.System, new AsyncSignal());
        await store.PrepareAsync(CancellationToken.None);
        var random = new Random(1);
        var secrets = new List<long>();
        for (var i = 0; i < 300; i++)
        {
            var isSecret = i % 3 == 0;
            var word = isSecret ? "zümrüdüanka" : "papatya";
            var prompt = string.Create(
                CultureInfo.InvariantCulture, $"{word} {i} {new string('x', random.Next(random.Next(3000)))} {word}");
            var submitted = await store.SubmitAsync(
                new NewImageMessage(
                    isSecret ? "secret" : "kept",
                    "ayşe",
                    Guid.NewGuid().ToString("N"),
                    prompt,
                    new JsonObject { ["width"] = 64 },
                    1,
                    isSecret ? $"zümrüdüanka-{i}" : null), UserLimits.None, default);
            if (isSecret)
                secrets.Add(submitted.Message.Id);
            for (var j = random.Next(4); j > 0; j--)
            {
                var id = random.Next(1, i + 2);
                await store.UpdateMessageAsync(
                    id, null, MetadataPatch.Of(($"key{random.Next(5)}", new string('y', random.Next(2000)))), default);
            }
        }

        Assert.That(await FilesAsync(folder), Does.Contain("zümrüdüanka"), "the search finds what is there");
        await store.CloseConversationAsync("secret", default);
        foreach (var id in secrets)
            await store.EraseAsync(id, default);
        await store.SettleAsync(default);
        await store.Settled;

        var left = await FilesAsync(folder);
        Assert.That(left, Does.Contain("papatya").And.Not.Contain("zümrüdüanka"));
    }

    /// <summary>Seen before: one DELETE under an open reader, such as a backup, stalled every write for the busy time-out of 5 s.</summary>
    [Test]
    public async Task Settle_LetsWritesThroughAndEndsLater_WhenAReaderNeedsTheLog()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "imagequeue.db");
        await using var store = new SqliteMessageStore($"Data Source={file}", TimeProvider.System, new AsyncSignal());
        await store.PrepareAsync(CancellationToken.None);
        await store.Settled;
        var erased = await store.AddAsync(new NewMessage("c", "ayşe", MessageRole.User, "zümrüdüanka", null), default);
        await using var reader = new SqliteConnection($"Data Source={file};Pooling=False");
        await reader.OpenAsync();
        await using (var backup = reader.BeginTransaction(deferred: true))
        {
            await reader.ExecuteScalarAsync<long>("SELECT count(*) FROM messages", transaction: backup);
            await store.EraseAsync(erased.Id, default);
            await store.SettleAsync(default);

            await store.AddAsync(new NewMessage("c2", "ayşe", MessageRole.User, "papatya", null), default);
            Assert.That(store.Settled.IsCompleted, Is.False, "the reader still needs the log");
        }

        await store.Settled;
        Assert.That(await FilesAsync(folder), Does.Not.Contain("zümrüdüanka"));
    }

    [Test]
    public async Task Prepare_CreatesFilesThatOnlyTheirUserReads()
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("Windows has no file modes.");
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "data", "imagequeue.db");
        await using var store = new SqliteMessageStore($"Data Source={file}", TimeProvider.System, new AsyncSignal());
        using var processLock = new SqliteProcessLock(store);

        await processLock.PrepareAsync(CancellationToken.None);
        await store.AddAsync(new NewMessage("c", "ayşe", MessageRole.User, "x", null), default);

        const UnixFileMode own = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        Assert.That(new DirectoryInfo(Path.GetDirectoryName(file)!).UnixFileMode, Is.EqualTo(own | UnixFileMode.UserExecute));
        var modes = Directory.GetFiles(Path.GetDirectoryName(file)!).Select(path => new FileInfo(path).UnixFileMode).ToList();
        Assert.That(modes, Has.Count.EqualTo(4), "the file, its log, its index and the lock");
        Assert.That(modes, Has.All.EqualTo(own));
    }

    private static async Task<string> FilesAsync(TemporaryFolder folder)
    {
        var all = new StringBuilder();
        foreach (var path in Directory.GetFiles(folder.Path))
            all.Append(Encoding.UTF8.GetString(await File.ReadAllBytesAsync(path)));
        return all.ToString();
    }
}
