using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Benchmarks.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Merges a second of <see cref="IConversationStore.UpdateMessageAsync"/>, each of two fields into metadata of several sizes,
/// against a bare UPDATE that replaces as much text, and against reading, changing and writing back.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~MergeBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints ratios.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class MergeBenchmark(string storageName)
{
    [TestCase(0.2, 1)]
    [TestCase(0.2, 16)]
    [TestCase(2, 1)]
    [TestCase(2, 16)]
    [TestCase(20, 1)]
    [TestCase(20, 16)]
    public async Task UpdateMessage_AgainstABareUpdate(double kibibytes, int writers)
    {
        const int writes = 400;
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var open = storage.Open(new AsyncSignal());
        var store = open.Store;
        var metadata = $$"""{"a":{"b":1},"filler":"{{new string('x', (int)(kibibytes * 1024) - 40)}}"}""";
        var ids = new List<long>();
        for (var i = 0; i < writers; i++)
        {
            ids.Add(
                (await store.AddAsync(
                    new NewMessage("benchmark", "ayşe", MessageRole.Bot, "a", MetadataPatch.Parse(metadata)), default)).Id);
        }

        Task<double> MeasureAsync(Func<long, int, Task> write) => Rounds.PerSecondAsync(writes, writers, i => write(ids[i % writers], i));
        var rounds = await Rounds.ByTurnsAsync(
            Rounds.Count,
            () => MeasureAsync((id, i) => store.UpdateMessageAsync(id, null, MetadataPatch.Of(("progress", i), ("step", $"{i}")), default)),
            () => MeasureAsync((id, i) => storage.WithConnectionAsync(connection =>
                // The same text again would write nothing.
                connection.ExecuteAsync(
                    "UPDATE messages SET extra_metadata = @changed WHERE id = @id",
                    new { id, changed = $$"""{"progress":{{i}},{{metadata[1..]}}""" }))),
            () => MeasureAsync((id, i) => storage.WithConnectionAsync(async connection =>
            {
                // A row has it.
                var read = JsonNode.Parse(
                    await connection.QuerySingleAsync<string>("SELECT extra_metadata FROM messages WHERE id = @id", new { id }))!;
                (read["progress"], read["step"]) = (i, $"{i}");
                return await connection.ExecuteAsync(
                    "UPDATE messages SET extra_metadata = @metadata WHERE id = @id", new { id, metadata = read.ToJsonString() });
            })));

        var what = FormattableString.Invariant(
            $"merge into {kibibytes} KiB, {writers} {(writers == 1 ? "writer" : "writers")}, {storageName}");
        BenchmarkTable.Add(
            what,
            "/s",
            rounds[0],
            new Baseline("bare UPDATE", rounds[1]),
            kibibytes switch { 2 => Bar.RatioAtLeast(0.9), 20 => Bar.RatioAtLeast(0.8), _ => null });
        BenchmarkTable.Add(what, "/s", rounds[0], new Baseline("read, modify, write", rounds[2]), Bar.RatioAtLeast(1));
    }

    [Test]
    public async Task UpdateMessage_KeepsWhatReadModifyWriteLoses()
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var open = storage.Open(new AsyncSignal());
        var store = open.Store;
        async Task<int> CountKeptAsync(Func<long, string, Task> write)
        {
            var id = (await store.AddAsync(new NewMessage("benchmark", "ayşe", MessageRole.Bot, "a", MetadataPatch.Empty), default)).Id;
            await Task.WhenAll(Enumerable.Range(0, 16).Select(writer => Task.Run(async () =>
            {
                for (var i = 0; i < 20; i++)
                    await write(id, $"w{writer}_{i}");
            })));
            return (await store.FindAsync(id, default))!.Metadata.EnumerateObject().Count(); // It was added above.
        }

        var merged = await CountKeptAsync((id, key) => store.UpdateMessageAsync(id, null, MetadataPatch.Of((key, 1)), default));
        var overwritten = await CountKeptAsync((id, key) => storage.WithConnectionAsync(async connection =>
        {
            // A row has it.
            var metadata = JsonNode.Parse(
                await connection.QuerySingleAsync<string>("SELECT extra_metadata FROM messages WHERE id = @id", new { id }))!;
            metadata[key] = 1;
            return await connection.ExecuteAsync(
                "UPDATE messages SET extra_metadata = @metadata WHERE id = @id", new { id, metadata = metadata.ToJsonString() });
        }));

        BenchmarkTable.Add(
            $"keys kept of 320, 16 writers of one message, {storageName}", "keys", merged, new Baseline(
                "read, modify, write", [overwritten]), new Bar("320", (kept, _) => kept == 320));
        Assert.That(merged, Is.EqualTo(320));
    }
}
