using ImageQueue.Core.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>What operators decide and look at.</summary>
public abstract partial class MessageStoreContract
{
    /// <summary>Whose pause it is stays with the first.</summary>
    [Test]
    public async Task Pause_IsOnce_UntilItIsResumed()
    {
        Assert.That(await Store.ListPausesAsync(CancellationToken.None), Is.Empty);
        Assert.That(await Store.PauseAsync("queue", "ayşe", CancellationToken.None), Is.True);
        Assert.That(await Store.PauseAsync("queue", "mehmet", CancellationToken.None), Is.False);
        Assert.That(await Store.PauseAsync("forge:gpu1", "mehmet", CancellationToken.None), Is.True);

        var pauses = await Store.ListPausesAsync(CancellationToken.None);

        Assert.That(pauses.Select(pause => (pause.Name, pause.By)), Is.EqualTo(new[] { ("forge:gpu1", "mehmet"), ("queue", "ayşe") }));
        Assert.That(await Store.ResumeAsync("queue", CancellationToken.None), Is.True);
        Assert.That(await Store.ResumeAsync("queue", CancellationToken.None), Is.False);
        Assert.That((await Store.ListPausesAsync(CancellationToken.None)).Single().Name, Is.EqualTo("forge:gpu1"));
    }
}
