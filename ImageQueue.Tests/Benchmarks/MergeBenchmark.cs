using System.Diagnostics;
using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Merges per second of <see cref="IMessageStore.UpdateMessageAsync"/> against a bare UPDATE of one column, and against
/// reading, changing and writing back. Run: <c>dotnet test -c Release --filter FullyQualifiedName~MergeBenchmark -l "console;verbosity=detailed"</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: prints ratios.")]
[Category("Benchmark")]
internal sealed class MergeBenchmark
{
    private const int Rounds = 7;
    private const int Writes = 400;

    [TestCase(1)]
    [TestCase(16)]
    public async Task UpdateMessage_AgainstABareUpdate(int writers)
    {
        using var folder = new TemporaryFolder();
        var connectionString = $"Data Source={Path.Combine(folder.Path, "messages.db")};Default Timeout=60";
        await using var store = new SqliteMessageStore(connectionString, TimeProvider.System, new MessageSignal());
        await store.PrepareAsync(default);
        var ids = new List<long>();
        for (var i = 0; i < writers; i++)
            ids.Add((await store.AddAsync(new NewMessage("benchmark", "ayşe", MessageRole.Bot, "a", MetadataPatch.Parse("""{"a":{"b":1},"c":"d"}""")), default)).Id);

        var merge = new List<double>();
        var bare = new List<double>();
        var readModifyWrite = new List<double>();
        for (var round = 0; round <= Rounds; round++)
        {
            merge.Add(await MeasureAsync(ids, (id, i) => store.UpdateMessageAsync(id, null, MetadataPatch.Of(("progress", i)), default)));
            bare.Add(await MeasureAsync(ids, (id, i) => OnItsOwnConnectionAsync(connectionString, connection =>
                connection.Execute("UPDATE messages SET content = @content WHERE id = @id", new { id, content = $"{i}" }))));
            readModifyWrite.Add(await MeasureAsync(ids, (id, i) => OnItsOwnConnectionAsync(connectionString, connection =>
            {
                var metadata = JsonNode.Parse(connection.QuerySingle<string>("SELECT extra_metadata FROM messages WHERE id = @id", new { id }))!;
                metadata["progress"] = i;
                return connection.Execute("UPDATE messages SET extra_metadata = @metadata WHERE id = @id", new { id, metadata = metadata.ToJsonString() });
            })));
        }

        // The first round warms up.
        var (merges, bares, readModifyWrites) = (Median(merge.Skip(1)), Median(bare.Skip(1)), Median(readModifyWrite.Skip(1)));
        TestContext.Out.WriteLine($"{writers} writers, {Rounds} rounds of {Writes} writes, medians:");
        TestContext.Out.WriteLine($"  UpdateMessage                {merges,9:0} merges/s");
        TestContext.Out.WriteLine($"  bare one-column UPDATE       {bares,9:0} writes/s   UpdateMessage is {merges / bares:0.00} of it (at least 0.7)");
        TestContext.Out.WriteLine($"  read, modify, write          {readModifyWrites,9:0} writes/s   UpdateMessage is {merges / readModifyWrites:0.00} of it (at least 1.0)");
    }

    [Test]
    public async Task ReadModifyWrite_LosesUpdates_ThatUpdateMessageKeeps()
    {
        using var folder = new TemporaryFolder();
        var connectionString = $"Data Source={Path.Combine(folder.Path, "messages.db")};Default Timeout=60";
        await using var store = new SqliteMessageStore(connectionString, TimeProvider.System, new MessageSignal());
        await store.PrepareAsync(default);
        async Task<int> CountKeptAsync(Func<long, string, Task> write)
        {
            var id = (await store.AddAsync(new NewMessage("benchmark", "ayşe", MessageRole.Bot, "a", MetadataPatch.Empty), default)).Id;
            await Task.WhenAll(Enumerable.Range(0, 16).Select(writer => Task.Run(async () =>
            {
                for (var i = 0; i < 20; i++)
                    await write(id, $"w{writer}_{i}");
            })));
            return (await store.FindAsync(id, default))!.Metadata.EnumerateObject().Count();
        }

        var merged = await CountKeptAsync((id, key) => store.UpdateMessageAsync(id, null, MetadataPatch.Of((key, 1)), default));
        var overwritten = await CountKeptAsync((id, key) => OnItsOwnConnectionAsync(connectionString, connection =>
        {
            var metadata = JsonNode.Parse(connection.QuerySingle<string>("SELECT extra_metadata FROM messages WHERE id = @id", new { id }))!;
            metadata[key] = 1;
            return connection.Execute("UPDATE messages SET extra_metadata = @metadata WHERE id = @id", new { id, metadata = metadata.ToJsonString() });
        }));

        TestContext.Out.WriteLine($"16 writers, 20 keys each: UpdateMessage kept {merged} of 320 keys; read, modify, write kept {overwritten} of 320.");
    }

    private static async Task<double> MeasureAsync(List<long> ids, Func<long, int, Task> write)
    {
        var started = Stopwatch.GetTimestamp();
        await Task.WhenAll(ids.Select(id => Task.Run(async () =>
        {
            for (var i = 0; i < Writes / ids.Count; i++)
                await write(id, i);
        })));
        return Writes / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    /// <summary>As applications do it: a pooled connection for each call, with the same durability as the store's.</summary>
    private static Task<int> OnItsOwnConnectionAsync(string connectionString, Func<SqliteConnection, int> work)
    {
        using var connection = new SqliteConnection(connectionString);
        connection.Open();
        connection.Execute("PRAGMA busy_timeout = 60000; PRAGMA synchronous = FULL");
        return Task.FromResult(work(connection));
    }

    private static double Median(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);
}
