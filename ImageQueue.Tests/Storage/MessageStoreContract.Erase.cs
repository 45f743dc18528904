using System.Text.Json.Nodes;
using ImageQueue.Tests.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>Erasing: leaves nothing personal, is found by the feed only, and reaches watchers.</summary>
public abstract partial class MessageStoreContract
{
    /// <summary>From each state.</summary>
    [TestCase(PlainMessage)]
    [TestCase(MessageStatus.Queued)]
    [TestCase(MessageStatus.Processing)]
    [TestCase(MessageStatus.Complete)]
    [TestCase(MessageStatus.Error)]
    [TestCase(MessageStatus.Cancelled)]
    public async Task Erase_LeavesATombstone_WithoutAnythingPersonal(string state)
    {
        var message = await InStateAsync(state);

        var tombstone = Applied(await Store.EraseAsync(message.Id, CancellationToken.None));

        var change = (await Store.ChangesSinceAsync(message.Revision, null, 10, CancellationToken.None)).Single();
        AssertSame(change.Message, tombstone);
        Assert.Multiple(() =>
        {
            Assert.That(
                (change.Username, tombstone.Content, tombstone.IsDeleted, tombstone.IsImage), Is.EqualTo(("", "", true, message.IsImage)));
            Assert.That(
                (tombstone.ConversationId, tombstone.Role, tombstone.Attempt, tombstone.Failures),
                Is.EqualTo((message.ConversationId, message.Role, message.Attempt, 0)));
            Assert.That(
                new[]
                {
                    tombstone.HangfireJobId, tombstone.IdempotencyKey, tombstone.RequestHash, tombstone.Backend, tombstone.Prompt,
                    tombstone.ImageUrl, tombstone.Error,
                },
                Is.All.Null);
            Assert.That(tombstone.Revision, Is.GreaterThan(message.Revision));
            var left = message.IsImage
                ? new JsonObject { ["status"] = "deleted", ["progress"] = 0, ["queue_position"] = 0, ["job_id"] = message.JobId }
                : new JsonObject { ["status"] = "deleted" };
            Assert.That(JsonStructure.Difference(left.ToJsonString(), tombstone.ExtraMetadata), Is.Null);
        });
    }

    /// <summary>To all but the feed it is gone, and nothing brings it back.</summary>
    [TestCase(PlainMessage)]
    [TestCase(MessageStatus.Processing)]
    [TestCase(MessageStatus.Complete)]
    [TestCase(MessageStatus.Error)]
    public async Task Erased_IsNotFound_AndTakesNoWrite(string state)
    {
        var message = await InStateAsync(state);
        var other = await AddAsync();
        var tombstone = Applied(await Store.EraseAsync(message.Id, CancellationToken.None));

        Assert.That(await Store.FindAsync(message.Id, CancellationToken.None), Is.Null);
        Assert.That(await Store.FindByHangfireJobAsync(HangfireJob, CancellationToken.None), Is.Null);
        if (message.JobId is { } job)
            Assert.That(await Store.FindByJobIdAsync(job, CancellationToken.None), Is.Null);
        Assert.That(
            (await Store.ListAsync(Conversation, 0, 10, CancellationToken.None)).Select(one => one.Id), Is.EqualTo(new[] { other.Id }));
        Assert.That(
            (await Store.ListBackwardsAsync(Conversation, long.MaxValue, 10, CancellationToken.None)).Select(one => one.Id),
            Is.EqualTo(new[] { other.Id }));

        var refused = new[]
        {
            await Store.EraseAsync(message.Id, CancellationToken.None),
            await Store.CancelAsync(message.Id, "c", CancellationToken.None),
            await Store.RetryAsync(message.Id, 1, UserLimits.None, CancellationToken.None),
            await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None),
            await Store.SaveProgressAsync(message.Id, message.Attempt, 50, CancellationToken.None),
            await CompleteAsync(message),
            await Store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.None, CancellationToken.None),
        };
        Assert.That(refused, Is.All.EqualTo(new Transition(false, null)));
        Assert.ThrowsAsync<MessageNotFoundException>(() => Store.UpdateMessageAsync(message.Id, "again", null, CancellationToken.None));
        Assert.ThrowsAsync<MessageNotFoundException>(
            () => Store.UpdateMessageAsync(message.Id, null, MetadataPatch.Parse("""{"a":1}"""), CancellationToken.None));
        Assert.That(
            (await Store.ChangesSinceAsync(other.Revision, null, 10, CancellationToken.None)).Single().Message.Revision,
            Is.EqualTo(tombstone.Revision));
    }

    /// <summary>A plain message's own status is its own.</summary>
    [Test]
    public async Task PlainMessage_IsThere_WhateverItCallsItsStatus()
    {
        var message = await AddAsync("""{"status":"deleted"}""");

        Assert.That((await Store.ListAsync(Conversation, 0, 10, CancellationToken.None)).Single().Id, Is.EqualTo(message.Id));
        Assert.That((await ReadAsync(message.Id))!.IsDeleted, Is.False);
    }

    /// <summary>The title is the beginning of the first message, and of no other.</summary>
    [Test]
    public async Task Erase_TakesTheTitle_WithTheFirstMessageAlone()
    {
        var first = await AddAsync(content: "ilk sözler");
        var second = await AddAsync(content: "ikinci");

        await Store.EraseAsync(second.Id, CancellationToken.None);
        Assert.That((await Store.FindConversationAsync(Conversation, CancellationToken.None))!.Title, Is.EqualTo("ilk sözler"));

        await Store.EraseAsync(first.Id, CancellationToken.None);
        Assert.That((await Store.FindConversationAsync(Conversation, CancellationToken.None))!.Title, Is.Null);
        Assert.That(await Store.ListConversationsAsync(Owner, long.MaxValue, 10, CancellationToken.None), Is.Empty);
    }

    /// <summary>A late request does not bring it back.</summary>
    [Test]
    public async Task ClosedConversation_IsNotFound_AndTakesNoMessage()
    {
        await AddAsync();
        await AddAsync(conversation: "another");

        Assert.That(await Store.CloseConversationAsync(Conversation, CancellationToken.None), Is.True);
        Assert.That(await Store.CloseConversationAsync(Conversation, CancellationToken.None), Is.False);
        Assert.That(await Store.CloseConversationAsync("unknown", CancellationToken.None), Is.False);

        Assert.That(await Store.FindConversationAsync(Conversation, CancellationToken.None), Is.Null);
        Assert.That(
            (await Store.ListConversationsAsync(Owner, long.MaxValue, 10, CancellationToken.None)).Single().Conversation.Id,
            Is.EqualTo("another"));
        Assert.ThrowsAsync<ConversationDeletedException>(() => AddAsync());
        Assert.ThrowsAsync<ConversationDeletedException>(() => SubmitAsync());
        Assert.ThrowsAsync<ConversationDeletedException>(
            () =>
                Store.AddAsync(
                    new NewMessage(Conversation, Owner, MessageRole.User, "x", null),
                    new IdempotencyKey("k", "h"),
                    CancellationToken.None));
    }

    /// <summary>Revisions rise on, and the conversation goes with its last tombstone.</summary>
    [Test]
    public async Task ForgetErased_RemovesOldTombstonesAlone()
    {
        var old = await InStateAsync(MessageStatus.Complete);
        var young = await AddAsync();
        await Store.CloseConversationAsync(Conversation, CancellationToken.None);
        await Store.EraseAsync(old.Id, CancellationToken.None);
        await Store.EraseAsync(young.Id, CancellationToken.None);
        await Database.AgeAsync(old.Id, TimeSpan.FromDays(40));

        Assert.That(await Store.ForgetErasedAsync(TimeSpan.FromDays(30), 10, CancellationToken.None), Is.EqualTo(1));
        Assert.That(
            (await Store.ChangesSinceAsync(0, null, 10, CancellationToken.None)).Select(change => change.Message.Id),
            Is.EqualTo(new[] { young.Id }));
        Assert.ThrowsAsync<ConversationDeletedException>(() => AddAsync());

        var newest = await AddAsync(conversation: "another");
        await Database.AgeAsync(young.Id, TimeSpan.FromDays(40));
        Assert.That(await Store.ForgetErasedAsync(TimeSpan.FromDays(30), 10, CancellationToken.None), Is.EqualTo(1));
        Assert.That((await AddAsync()).Revision, Is.GreaterThan(newest.Revision), "counted from the start");
    }

    [Test]
    public async Task RenameConversation_ChangesTheTitle_UntilErased()
    {
        await SubmitAsync(ImageRequest("bir gül"));

        Assert.That(await Store.RenameConversationAsync(Conversation, "Güller 🌹", CancellationToken.None), Is.True);
        Assert.That((await Store.FindConversationAsync(Conversation, CancellationToken.None))!.Title, Is.EqualTo("Güller 🌹"));
        await Store.CloseConversationAsync(Conversation, CancellationToken.None);
        Assert.That(await Store.RenameConversationAsync(Conversation, "x", CancellationToken.None), Is.False);
        Assert.That(await Store.RenameConversationAsync("none", "x", CancellationToken.None), Is.False);
    }
}
