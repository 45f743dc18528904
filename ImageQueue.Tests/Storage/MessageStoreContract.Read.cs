using ImageQueue.Tests.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

public abstract partial class MessageStoreContract
{
    /// <summary>Absence is null.</summary>
    [Test]
    public async Task Find_IsNull_WhenThereIsNone()
    {
        Assert.That(await Store.FindAsync(42, CancellationToken.None), Is.Null);
        Assert.That(await Store.FindByHangfireJobAsync("hf-1", CancellationToken.None), Is.Null);
        Assert.That(await Store.FindConversationAsync("c", CancellationToken.None), Is.Null);
        Assert.That(await Store.ListAsync("c", 0, 10, CancellationToken.None), Is.Empty);
        Assert.That(await Store.LatestRevisionAsync(CancellationToken.None), Is.Zero);
        Assert.That(await Store.ChangesSinceAsync(0, null, 10, CancellationToken.None), Is.Empty);
    }

    /// <summary>From an operator's action on a job to its message.</summary>
    [Test]
    public async Task FindByHangfireJob_FindsTheMessage_OfExactlyThatJob()
    {
        await InStateAsync(PlainMessage);
        var message = await InStateAsync(MessageStatus.Queued);

        AssertSame(await Store.FindByHangfireJobAsync(HangfireJob, CancellationToken.None), message);
        Assert.That(await Store.FindByHangfireJobAsync("HF-1", CancellationToken.None), Is.Null);
    }

    /// <summary>Hangfire's ids begin at 1 again when its schema is installed anew.</summary>
    [Test]
    public async Task HangfireJob_IsTheNewestMessages_WhenSeveralHaveIt()
    {
        var (old, young) = (await InStateAsync(MessageStatus.Queued), await InStateAsync(MessageStatus.Queued));

        AssertSame(await Store.FindByHangfireJobAsync(HangfireJob, CancellationToken.None), young);
        var cancelled = Applied(await Store.CancelByHangfireJobAsync(HangfireJob, "c", CancellationToken.None));
        Assert.That(cancelled.Id, Is.EqualTo(young.Id));
        AssertSame(await ReadAsync(old.Id), old);
    }

    /// <summary>A page of long messages ends early: one is held for each stream that replays.</summary>
    [Test]
    public async Task ChangesSince_EndsThePage_WhenItIsLongInCharacters()
    {
        var added = new List<long>();
        for (var i = 0; i < 10; i++)
            added.Add((await AddAsync(content: new string('x', IFeedStore.PageCharacters / 4))).Id);

        var read = new List<long>();
        for (var since = 0L; await Store.ChangesSinceAsync(since, null, 500, CancellationToken.None) is { Count: > 0 } page;
            since = page[^1].Message.Revision)
        {
            Assert.That(page, Has.Count.LessThanOrEqualTo(4));
            read.AddRange(page.Select(change => change.Message.Id));
        }

        Assert.That(read, Is.EqualTo(added));
    }

    /// <summary>From an image's name to whose it is. A chat app's own key of that name makes no image.</summary>
    [Test]
    public async Task FindByJobId_FindsTheImageRequest_OfExactlyThatImage()
    {
        var message = await InStateAsync(MessageStatus.Queued);
        var jobId = message.JobId!; // An image request has one.
        await Store.UpdateMessageAsync(
            (await AddAsync()).Id, null, MetadataPatch.Of((MetadataFields.JobId, "other")), CancellationToken.None);

        AssertSame(await Store.FindByJobIdAsync(jobId, CancellationToken.None), message);
        Assert.That(await Store.FindByJobIdAsync(jobId + "0", CancellationToken.None), Is.Null);
        Assert.That(await Store.FindByJobIdAsync("other", CancellationToken.None), Is.Null);
    }

    /// <summary>A page begins behind an id and ends at the limit.</summary>
    [Test]
    public async Task List_GivesAConversationsMessages_InOrderOfIds()
    {
        var ids = new List<long>();
        for (var i = 0; i < 5; i++)
        {
            ids.Add((i == 2 ? await SubmitAsync() : await AddAsync(content: $"m{i}")).Id);
            await AddAsync(conversation: "other");
        }

        Assert.That((await ListAsync()).Select(m => m.Id), Is.EqualTo(ids).And.Ordered.Ascending);
        Assert.That(
            (await Store.ListAsync(Conversation, ids[1], 2, CancellationToken.None)).Select(m => m.Id), Is.EqualTo(ids.Skip(2).Take(2)));
        Assert.That(await Store.ListAsync(Conversation, ids[4], 2, CancellationToken.None), Is.Empty);
    }

    /// <summary>By place in the queue, page by page; rows queued at the same moment in order of ids.</summary>
    [Test]
    public async Task ListByStatus_GivesTheOldestFirst_PageByPage()
    {
        var waiting = new List<Message>();
        for (var i = 0; i < 5; i++)
        {
            waiting.Add(await SubmitAsync());
            if (i % 2 == 1)
                Time.Advance(TimeSpan.FromMilliseconds(1));
        }

        // The first goes to the tail by a retry, and plain messages do not wait whatever they call themselves.
        await Store.CancelAsync(waiting[0].Id, "c", CancellationToken.None);
        Time.Advance(TimeSpan.FromSeconds(1));
        waiting.Add(Applied(await Store.RetryAsync(waiting[0].Id, 1, UserLimits.None, CancellationToken.None)));
        waiting.RemoveAt(0);
        await InStateAsync(PlainMessage);

        var pages = new List<Message>();
        UnfinishedCursor? cursor = null;
        while (await Store.ListByStatusAsync(MessageStatus.Queued, cursor, 2, CancellationToken.None) is { Count: > 0 } page)
        {
            Assert.That(page, Has.Count.LessThanOrEqualTo(2));
            pages.AddRange(page);
            cursor = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id);
        }

        Assert.That(pages.Select(m => m.Id), Is.EqualTo(waiting.Select(m => m.Id)));
    }

    /// <summary>Image requests only.</summary>
    [Test]
    public async Task Count_CountsImageRequests_InThatStatus()
    {
        foreach (var state in States)
            await InStateAsync(state);
        await InStateAsync(MessageStatus.Queued);

        Assert.That(await Store.CountAsync(MessageStatus.Queued, CancellationToken.None), Is.EqualTo(2));
        Assert.That(await Store.CountAsync(MessageStatus.Error, CancellationToken.None), Is.EqualTo(1));
        Assert.That(await Store.CountAsync("QUEUED", CancellationToken.None), Is.Zero);
    }

    /// <summary>Each row once, in its newest state, in the order of the last writes.</summary>
    [Test]
    public async Task ChangesSince_GivesTheNewestState_InOrderOfWrites()
    {
        var first = await InStateAsync(MessageStatus.Queued);
        var second = await AddAsync(conversation: "c2", username: "veli");
        var third = await AddAsync(conversation: "c2", username: "veli");
        first = Applied(await Store.ClaimAsync(first.Id, HangfireJob, null, null, CancellationToken.None));

        var changes = await Store.ChangesSinceAsync(0, null, 10, CancellationToken.None);

        Assert.That(
            changes.Select(change => (change.Message.Id, change.Username)),
            Is.EqualTo(new[] { (second.Id, "veli"), (third.Id, "veli"), (first.Id, Owner) }));
        Assert.That(changes.Select(change => change.Message.Revision), Is.Ordered.Ascending);
        AssertSame(changes[2].Message, first);
        Assert.That(await Store.LatestRevisionAsync(CancellationToken.None), Is.EqualTo(first.Revision));
    }

    /// <summary>The rows alone, and then those that are asked for, are the same changes.</summary>
    [Test]
    public async Task ListChanges_NamesTheRows_ThatChangesSinceGives()
    {
        for (var i = 0; i < 7; i++)
            await AddAsync(conversation: $"c{i % 3}");
        await Store.UpdateMessageAsync((await ListAsync("c1"))[0].Id, "x", null, CancellationToken.None);
        var changes = await Store.ChangesSinceAsync(0, null, 10, CancellationToken.None);

        var listed = new List<ChangedRow>();
        while (await Store.ListChangesAsync(listed.LastOrDefault().Revision, 3, CancellationToken.None) is { Rows.Count: > 0 } page)
        {
            Assert.That((page.Rows.Count, page.HeldBackAt), Is.EqualTo((Math.Min(3, 7 - listed.Count), (long?)null)));
            listed.AddRange(page.Rows);
        }

        Assert.That(
            listed,
            Is.EqualTo(
                changes.Select(change => new ChangedRow(change.Message.Id, change.Message.ConversationId, change.Message.Revision))));
        Assert.That(
            await Store.ReadChangesAsync(
                [.. listed.Select(row => row.Id).Skip(2).Reverse(), 4711], CancellationToken.None), Is.EqualTo(changes.Skip(2)));
        Assert.That(changes.Select(change => change.ResumeFrom), Is.EqualTo(changes.Select(change => change.Message.Revision)));
    }

    /// <summary>Page by page nothing is missed and nothing comes twice.</summary>
    [Test]
    public async Task ChangesSince_GoesOn_WhereTheLastPageEnded()
    {
        var messages = new List<Message>();
        for (var i = 0; i < 7; i++)
            messages.Add(await SubmitAsync());
        await Store.SavePositionsAsync([], CancellationToken.None);

        var seen = new List<long>();
        long revision = 0;
        while (await Store.ChangesSinceAsync(revision, null, 3, CancellationToken.None) is { Count: > 0 } page)
        {
            Assert.That(page, Has.Count.LessThanOrEqualTo(3));
            seen.AddRange(page.Select(change => change.Message.Id));
            revision = page[^1].Message.Revision;
        }

        Assert.That(seen, Is.EqualTo(messages.Select(m => m.Id)));
    }

    /// <summary>A watcher of one conversation gets no change of another.</summary>
    [Test]
    public async Task ChangesSince_GivesOneConversation_WhenAskedForIt()
    {
        var one = await AddAsync(conversation: "c1");
        await AddAsync(conversation: "c2");
        var two = await AddAsync(conversation: "c1");

        Assert.That(
            (await Store.ChangesSinceAsync(0, "c1", 10, CancellationToken.None)).Select(c => c.Message.Id),
            Is.EqualTo(new[] { one.Id, two.Id }));
        Assert.That(
            (await Store.ChangesSinceAsync(one.Revision, "c1", 10, CancellationToken.None)).Select(c => c.Message.Id),
            Is.EqualTo(new[] { two.Id }));
    }

    /// <summary>A reader by revision sees every written row, however many concurrent writers there are.</summary>
    [Test]
    public async Task ChangesSince_MissesNothing_WhileManyWrite()
    {
        var seen = new HashSet<long>();
        long revision = 0;
        var writing = Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
        {
            for (var n = 0; n < 25; n++)
                await AddAsync(conversation: $"c{i}");
        })));
        while (true)
        {
            var isLast = writing.IsCompleted;
            while (await Store.ChangesSinceAsync(revision, null, 10, CancellationToken.None) is { Count: > 0 } page)
            {
                seen.UnionWith(page.Select(change => change.Message.Id));
                revision = page[^1].Message.Revision;
            }

            if (isLast)
                break;
            await Task.Yield();
        }

        await writing;
        Assert.That(seen, Has.Count.EqualTo(200));
    }

    /// <summary>Only rows that moved, and only while they wait under that job.</summary>
    [Test]
    public async Task SavePositions_WritesMovedRows_AndNoOthers()
    {
        var moved = await QueuedAsync("hf-moved", 5);
        var same = await QueuedAsync("hf-same", 2);
        var requeued = await QueuedAsync("hf-new", 5);
        var jobless = await SubmitAsync();
        var claimed = Applied(
            await Store.ClaimAsync((await QueuedAsync("hf-claimed", 5)).Id, "hf-claimed", null, null, CancellationToken.None));
        Time.Advance(TimeSpan.FromSeconds(5));
        var signal = Signal.Next;

        var written = await Store.SavePositionsAsync(
            [
                new(moved.Id, "hf-moved", 1), new(same.Id, "hf-same", 2), new(requeued.Id, "hf-old", 3), new(claimed.Id, "hf-claimed", 4),
                new(claimed.Id + 1, "hf-unknown", 5), new(jobless.Id, "", 6),
            ],
            CancellationToken.None);

        Assert.That(written, Is.EqualTo(1));
        Assert.That(signal.IsCompleted, Is.True);
        var after = (await ReadAsync(moved.Id))!;
        Assert.That(after.Revision, Is.GreaterThan(claimed.Revision));
        AssertSame(after, moved with
        {
            UpdatedAt = Time.GetUtcNow(),
            Revision = after.Revision,
            ExtraMetadata = ReferenceMerge.Merge(moved.ExtraMetadata, """{"queue_position":1}"""),
        });
        foreach (var untouched in new[] { same, requeued, jobless, claimed })
            AssertSame(await ReadAsync(untouched.Id), untouched);
    }

    /// <summary>Writes and signals nothing when nothing changes.</summary>
    [Test]
    public async Task SavePositions_WritesNothing_WhenNothingMoved()
    {
        var message = await QueuedAsync("hf-1", 1);
        var signal = Signal.Next;

        Assert.That(await Store.SavePositionsAsync([], CancellationToken.None), Is.Zero);
        Assert.That(await Store.SavePositionsAsync([new(message.Id, "hf-1", 1)], CancellationToken.None), Is.Zero);
        Assert.That(signal.IsCompleted, Is.False);
    }

    /// <summary>A position that was removed by hand is stored again.</summary>
    [TestCase("""{"queue_position":null}""")]
    [TestCase("""{"queue_position":"first"}""")]
    public async Task SavePositions_WritesTheRow_WhenItsPositionIsNoNumber(string patch)
    {
        var message = await QueuedAsync("hf-1", 1);
        await MergeAsync(message, patch);

        Assert.That(await Store.SavePositionsAsync([new(message.Id, "hf-1", 1)], CancellationToken.None), Is.EqualTo(1));
        Assert.That((await ReadAsync(message.Id))!.QueuePosition, Is.EqualTo(1));
    }

    /// <summary>One statement moves many, and a reader that pages by revision can still tell them apart.</summary>
    [Test]
    public async Task SavePositions_GivesEachRowItsOwnRevision()
    {
        var rows = new List<QueuedPosition>();
        for (var i = 0; i < 60; i++)
        {
            rows.Add(new QueuedPosition((await QueuedAsync($"hf-{i}", 1)).Id, $"hf-{i}", i + 2));
        }

        var before = await Store.LatestRevisionAsync(CancellationToken.None);

        Assert.That(await Store.SavePositionsAsync(rows, CancellationToken.None), Is.EqualTo(60));
        var changes = await Store.ChangesSinceAsync(before, null, 100, CancellationToken.None);
        Assert.That(changes.Select(change => change.Message.Revision), Is.Unique.And.Ordered.Ascending);
        Assert.That(changes.Select(change => change.Message.QueuePosition).Order(), Is.EqualTo(Enumerable.Range(2, 60)));
    }

    private Task<IReadOnlyList<Message>> ListAsync(string conversation = Conversation) =>
        Store.ListAsync(conversation, 0, 100, CancellationToken.None);

    private async Task<Message> QueuedAsync(string hangfireJob, int position)
    {
        var message = await SubmitAsync(ImageRequest(position: position));
        return Applied(await Store.AttachJobAsync(message.Id, hangfireJob, null, CancellationToken.None));
    }
}
