using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>What recovery asks of a store beside the transitions.</summary>
public abstract partial class MessageStoreContract
{
    [TestCase(MessageStatus.Queued, true)]
    [TestCase(MessageStatus.Processing, true)]
    [TestCase(MessageStatus.Complete, false)]
    [TestCase(MessageStatus.Error, false)]
    [TestCase(MessageStatus.Cancelled, false)]
    public async Task CancelByHangfireJob_IsAppliedOrRefused_AsTheStateAllows(string state, bool applied)
    {
        var before = await InStateAsync(state);

        var transition = await Store.CancelByHangfireJobAsync(HangfireJob, "İptal edildi.", CancellationToken.None);

        var now = await ReadAsync(before.Id);
        Assert.That(transition.Applied, Is.EqualTo(applied));
        Assert.That(transition.Message?.Revision, Is.EqualTo(now!.Revision));
        if (applied)
        {
            Assert.That(
                (now.Status, now.Progress, now.QueuePosition, now.Content), Is.EqualTo((MessageStatus.Cancelled, 0, 0, "İptal edildi.")));
        }
        else
        {
            Assert.That(now.Revision, Is.EqualTo(before.Revision));
        }
    }

    [Test]
    public async Task CancelByHangfireJob_LeavesTheRequestAlone_WhenItHasAnotherJob()
    {
        var message = await InStateAsync(MessageStatus.Queued);
        Applied(await Store.AttachJobAsync(message.Id, "hf-2", HangfireJob, CancellationToken.None));

        var transition = await Store.CancelByHangfireJobAsync(HangfireJob, "x", CancellationToken.None);

        Assert.That((transition.Applied, transition.Message), Is.EqualTo((false, (Message?)null)));
        Assert.That((await ReadAsync(message.Id))!.Status, Is.EqualTo(MessageStatus.Queued));
    }

    [Test]
    public async Task ListWaiting_GivesQueuedRequestsInOrder_PageByPage()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 5; i++)
        {
            rows.Add(await SubmitAsync());
            if (i != 2)
                Time.Advance(TimeSpan.FromMilliseconds(5)); // Two have the same time.
        }

        rows[1] = Applied(await Store.AttachJobAsync(rows[1].Id, HangfireJob, null, CancellationToken.None));
        await Store.ClaimAsync(rows[4].Id, "hf-3", null, null, CancellationToken.None);
        await AddAsync("""{"status":"queued"}""");

        var pages = new List<WaitingRequest>();
        UnfinishedCursor? after = null;
        while (await Store.ListWaitingAsync(after, 2, CancellationToken.None) is { Count: > 0 } page)
        {
            pages.AddRange(page);
            after = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        Assert.That(
            pages,
            Is.EqualTo(
                rows.Take(4).Select(row => new WaitingRequest(row.Id, row.QueuedAt!.Value, row.HangfireJobId, 3) { Username = "ayşe" })));
    }

    [Test]
    public async Task ListNewest_ListsImagesOfThatStatus_NewestPlaceFirst()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 4; i++)
        {
            rows.Add(await SubmitAsync());
            Time.Advance(TimeSpan.FromSeconds(1));
        }

        await Store.CancelAsync(rows[2].Id, "cancelled", CancellationToken.None);
        await AddAsync("""{"status":"queued"}""");

        var newest = await Store.ListNewestAsync(MessageStatus.Queued, 2, CancellationToken.None);

        Assert.That(newest.Select(row => row.Id), Is.EqualTo(new[] { rows[3].Id, rows[1].Id }));
    }
}
