using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>An erasure is finished, whatever becomes of its caller or its process.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class EraseMessagesTests
{
    private const string Conversation = "sohbet";

    [Test]
    public async Task EraseConversation_ErasesAll_WhenTheCallerHangsUpHalfWay()
    {
        using var caller = new CancellationTokenSource();
        await using var bench = await Bench.CreateAsync(
            wrap: store => FaultyStore.Around(store).After(nameof(IMessageStore.EraseAsync), caller.CancelAsync).Store);
        for (var i = 0; i < 250; i++)
            await bench.AddRowAsync();

        Assert.That(await bench.Get<EraseMessages>().EraseConversationAsync(Conversation, caller.Token), Is.True);

        Assert.That(caller.IsCancellationRequested, Is.True);
        Assert.That(await bench.Store.ListAsync(Conversation, 0, 500, CancellationToken.None), Is.Empty);
    }

    [Test]
    public async Task ErasureReconciler_FinishesAConversation_WhenAProcessDiedAfterClosingIt()
    {
        await using var bench = await Bench.CreateAsync();
        var row = await bench.QueueAsync();
        await bench.Store.CloseConversationAsync(Conversation, CancellationToken.None);
        Assert.That(await bench.Store.ListClosedConversationsAsync(10, CancellationToken.None), Is.EqualTo(new[] { Conversation }));

        Assert.That(await bench.Get<EraseMessages>().FinishAsync(CancellationToken.None), Is.EqualTo(1));

        Assert.That(await bench.Store.FindAsync(row.Id, CancellationToken.None), Is.Null);
        Assert.That(await bench.Store.ListClosedConversationsAsync(10, CancellationToken.None), Is.Empty);
        Assert.That(bench.Get<ErasureReconciler>(), Is.Not.Null, "it is registered");
    }

    /// <summary>An image that another program holds open cannot be removed on Windows.</summary>
    [Test]
    public async Task FinishAsync_ErasesTheOthers_WhenAFileOfOneConversationCannotBeRemoved()
    {
        await using var bench = await Bench.CreateAsync();
        var stuck = await bench.AddRowAsync();
        var other = await bench.Store.AddAsync(new NewMessage("z", "ayşe", MessageRole.User, "x", null), CancellationToken.None);
        Directory.CreateDirectory(Path.Combine(bench.ImagesFolder, $"flux_{stuck.JobId}.png")); // No file that can be deleted.
        foreach (var conversation in new[] { Conversation, "z" })
            await bench.Store.CloseConversationAsync(conversation, CancellationToken.None);

        Assert.That(await bench.Get<EraseMessages>().FinishAsync(CancellationToken.None), Is.EqualTo(1));

        Assert.That(await bench.Store.FindAsync(other.Id, CancellationToken.None), Is.Null);
        Assert.That(await bench.Store.FindAsync(stuck.Id, CancellationToken.None), Is.Not.Null);
        Assert.That(bench.Log.Of(LogLevel.Warning), Has.One.Contains(Conversation));
    }
}
