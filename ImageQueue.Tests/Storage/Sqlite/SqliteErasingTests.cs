using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.Sqlite;

/// <summary>What is erased is in no page of the file any more, free or not, and not in the log beside it.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteErasingTests
{
    /// <summary>Rows that grew, moved from page to page and overflowed before they were erased.</summary>
    [Test]
    public async Task Erased_IsNowhereInTheFiles_HoweverOftenItMoved()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "imagequeue.db");
        await using var store = new SqliteMessageStore($"Data Source={file}", TimeProvider.System, new AsyncSignal());
        await store.PrepareAsync(CancellationToken.None);
        var random = new Random(7);
        var secrets = new List<long>();
        for (var i = 0; i < 300; i++)
        {
            var isSecret = i % 3 == 0;
            var word = isSecret ? "zümrüdüanka" : "papatya";
            var prompt = string.Create(CultureInfo.InvariantCulture, $"{word} {i} {new string('x', random.Next(random.Next(3000)))} {word}");
            var submitted = await store.SubmitAsync(
                new NewImageMessage(isSecret ? "secret" : "kept", "ayşe", Guid.NewGuid().ToString("N"), prompt, new JsonObject { ["width"] = 64 }, 1, isSecret ? $"zümrüdüanka-{i}" : null), UserLimits.None, default);
            if (isSecret)
                secrets.Add(submitted.Message.Id);
            for (var j = random.Next(4); j > 0; j--)
            {
                var id = random.Next(1, i + 2);
                await store.UpdateMessageAsync(id, null, MetadataPatch.Of(($"key{random.Next(5)}", new string('y', random.Next(2000)))), default);
            }
        }

        Assert.That(await FilesAsync(folder), Does.Contain("zümrüdüanka"), "the search finds what is there");
        await store.CloseConversationAsync("secret", default);
        foreach (var id in secrets)
            await store.EraseAsync(id, default);
        await store.SettleAsync(default);

        var left = await FilesAsync(folder);
        Assert.That(left, Does.Contain("papatya").And.Not.Contain("zümrüdüanka"));
    }

    private static async Task<string> FilesAsync(TemporaryFolder folder)
    {
        var all = new StringBuilder();
        foreach (var path in Directory.GetFiles(folder.Path))
            all.Append(Encoding.UTF8.GetString(await File.ReadAllBytesAsync(path)));
        return all.ToString();
    }
}
