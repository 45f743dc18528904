using System.Data;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Sql;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>A server that breaks off, or keeps a row locked.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class SqlServerFaultTests
{
    /// <summary>They need a row, which the recorded answers do not have.</summary>
    private static readonly HashSet<string> OfOneRow =
    [
        nameof(IMessageStore.AddAsync), nameof(IMessageStore.SubmitAsync), nameof(IMessageStore.SearchFinishedAsync),
        nameof(IMessageStore.ChangeMarkAsync), nameof(IMessageStore.ReadStatisticsStateAsync),
    ];

    private static IEnumerable<TestCaseData> Verbs =>
        from call in SqlServerStatementTests.Calls.DistinctBy(call => call.Method)
        from point in Enum.GetValues<BreakingPoint>()
        where point == BreakingPoint.FirstRow || !OfOneRow.Contains(call.Method)
        select new TestCaseData(call.Call, point).SetArgDisplayNames(call.Method, $"{point}");

    /// <summary>
    /// Seen before: 500 to a caller, and a generated image lost, for "NextResultAsync when reader is closed" out of Dapper.
    /// </summary>
    [TestCaseSource(nameof(Verbs))]
    public void Verb_ThrowsStoreUnavailable_WhenTheConnectionBreaksWithinTheAnswer(Func<IMessageStore, Task> call, object point)
    {
        var sent = new SentStatements { Breaks = (BreakingPoint)point, Table = Answer };
        var store = new SqlServerMessageStore(
            new SqlServerConnections(() => new RecordingConnection(sent)), TimeProvider.System, new AsyncSignal());

        Assert.That(() => call(store), Throws.TypeOf<StoreUnavailableException>());
        Assert.That(sent.All, Is.Not.Empty);
    }

    /// <summary>The product's own mistakes stay what they are.</summary>
    [Test]
    public void Run_LetsAMistakeThrough_WhenTheConnectionIsOpen()
    {
        var connections = new SqlServerConnections(() => new RecordingConnection(new SentStatements()));

        Assert.That(
            () => connections.RunAsync<int>(_ => throw new InvalidOperationException("ours"), default), Throws.InvalidOperationException);
    }

    [Test]
    public async Task RowGate_LetsOneWriteOfARowRun_AndOthersOfOtherRows()
    {
        var gate = new RowGate(TimeProvider.System);
        var held = new TaskCompletionSource();
        var first = gate.RunAsync(1, () => HoldAsync(held), default);
        var second = gate.RunAsync(1, () => Task.FromResult(2), default);

        Assert.That(await gate.RunAsync(2, () => Task.FromResult(3), default), Is.EqualTo(3));
        Assert.That(second.IsCompleted, Is.False);
        held.SetResult();
        Assert.That((await first, await second), Is.EqualTo((1, 2)));
    }

    /// <summary>Seen before: 64 writers on one message, each with a connection, and a p99 of 38 s.</summary>
    [Test]
    public async Task RowGate_RefusesAWrite_ThatHasWaitedTooLong()
    {
        var time = new FakeTimeProvider();
        var gate = new RowGate(time);
        var held = new TaskCompletionSource();
        var first = gate.RunAsync(1, () => HoldAsync(held), default);
        using var gone = new CancellationTokenSource();
        var cancelled = gate.RunAsync(1, () => Task.FromResult(2), gone.Token);
        var late = gate.RunAsync(1, () => Task.FromResult(3), default);

        await gone.CancelAsync();
        time.Advance(RowGate.MaxWait);

        Assert.That(() => cancelled, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => late, Throws.TypeOf<StoreUnavailableException>());
        held.SetResult();
        await first;
        Assert.That(await gate.RunAsync(1, () => Task.FromResult(4), default), Is.EqualTo(4), "the row is free again");
    }

    /// <summary>Dapper reads no row of an answer without columns.</summary>
    private static DataTable Answer(string text)
    {
        var table = new DataTable();
        foreach (var column in text.Contains("AS Ended", StringComparison.Ordinal) ? new[] { "Written", "Ended" } : ["Id"])
            table.Columns.Add(column, typeof(long));
        return table;
    }

    private static async Task<int> HoldAsync(TaskCompletionSource held)
    {
        await held.Task;
        return 1;
    }
}
