using ImageQueue.Tests.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

public abstract partial class MessageStoreContract
{
    /// <summary>The bug that started the project: an update of <c>progress</c> erased <c>queue_position</c>.</summary>
    [Test]
    public async Task Merge_PreservesFields_WhenThePatchNamesOthers()
    {
        var message = await AddAsync("""{"queue_position":3,"theme":{"dark":true},"tags":["a"]}""");

        await MergeAsync(message, """{"progress":40}""");

        AssertMetadata("""{"queue_position":3,"theme":{"dark":true},"tags":["a"],"progress":40}""", await ReadAsync(message.Id));
    }

    /// <summary>New keys, at any depth.</summary>
    [Test]
    public async Task Merge_AddsFields_WhenTheyAreNew()
    {
        var message = await AddAsync("""{"theme":{"dark":true}}""");

        await MergeAsync(message, """{"pinned":true,"theme":{"colour":"mavi"},"a":{"b":{"c":1}}}""");

        AssertMetadata("""{"theme":{"dark":true,"colour":"mavi"},"pinned":true,"a":{"b":{"c":1}}}""", await ReadAsync(message.Id));
    }

    /// <summary>The newest value of a key is the one that stays.</summary>
    [Test]
    public async Task Merge_OverwritesAField_WhenThePatchNamesIt()
    {
        var message = await AddAsync("""{"progress":10,"theme":{"dark":true,"colour":"mavi"}}""");

        await MergeAsync(message, """{"progress":20,"theme":{"dark":false}}""");

        AssertMetadata("""{"progress":20,"theme":{"dark":false,"colour":"mavi"}}""", await ReadAsync(message.Id));
    }

    /// <summary>64 writers, 100 merges each, on one row: every one of the 6,400 fields is there afterwards.</summary>
    [Test]
    public async Task Merge_LosesNothing_UnderConcurrentWriters()
    {
        const int writers = 64;
        const int merges = 100;
        var message = await InStateAsync(MessageStatus.Processing);

        await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            for (var i = 0; i < merges; i++)
                await MergeAsync(message, string.Create(CultureInfo.InvariantCulture, $"{{\"w{writer}\":{{\"{i}\":{i}}}}}"));
        })));

        var stored = (await ReadAsync(message.Id))!;
        var lost =
            from writer in Enumerable.Range(0, writers)
            from i in Enumerable.Range(0, merges)
            where !stored.Metadata.TryGetProperty($"w{writer}", out var own)
                || !own.TryGetProperty(i.ToString(CultureInfo.InvariantCulture), out var value)
                || value.GetInt32() != i
            select $"w{writer}.{i}";
        Assert.That(lost, Is.Empty);
        Assert.That((stored.Status, stored.Prompt), Is.EqualTo((message.Status, message.Prompt)));
    }

    /// <summary>The worker's writes and the chat app's meet on one row; neither deletes the other's.</summary>
    [Test]
    public async Task Merge_LosesNothing_BesideTheWorkersTransitions()
    {
        var message = await SubmitAsync();
        var chat = Task.Run(async () =>
        {
            for (var i = 0; i < 100; i++)
                await MergeAsync(message, string.Create(CultureInfo.InvariantCulture, $"{{\"chat\":{{\"k{i}\":{i}}}}}"));
        });
        await Store.AttachJobAsync(message.Id, HangfireJob, null, CancellationToken.None);
        var claimed = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        for (var progress = 1; progress < 100; progress += 7)
            Applied(await Store.SaveProgressAsync(message.Id, claimed.Attempt, progress, CancellationToken.None));
        Applied(await CompleteAsync(claimed));
        await chat;

        var stored = (await ReadAsync(message.Id))!;
        Assert.That(
            (stored.Status, stored.Progress, stored.QueuePosition, stored.ImageUrl),
            Is.EqualTo((MessageStatus.Complete, 100, 0, "/images/flux_1.png")));
        Assert.That(stored.Metadata.GetProperty("chat").GetPropertyCount(), Is.EqualTo(100));
        Assert.That(stored.Prompt, Is.EqualTo(message.Prompt));
    }

    /// <summary>RFC 7396, through the store itself.</summary>
    [TestCaseSource(typeof(Rfc7396Table), nameof(Rfc7396Table.Cases))]
    public async Task UpdateMessage_GivesTheExpectedDocument_WhenMerged(MergeCase merge)
    {
        var message = await AddAsync();
        if (merge.Target is not null)
            await Database.SetMetadataAsync(message.Id, merge.Target);

        var updated = await MergeAsync(message, merge.Patch);

        AssertMetadata(merge.Expected, updated);
        AssertMetadata(merge.Expected, await ReadAsync(message.Id));
    }

    /// <summary>Null leaves the content, null leaves the metadata.</summary>
    [TestCase(null, null)]
    [TestCase("yeni metin", null)]
    [TestCase(null, """{"b":2}""")]
    [TestCase("", """{"a":null}""")]
    public async Task UpdateMessage_WritesWhatItIsGiven_AndAlwaysMovesUpdatedAt(string? content, string? patch)
    {
        var before = await AddAsync("""{"a":1}""");
        var signal = Signal.Next;
        Time.Advance(TimeSpan.FromMilliseconds(1));

        var after = await Store.UpdateMessageAsync(
            before.Id, content, patch is null ? null : MetadataPatch.Parse(patch), CancellationToken.None);

        Assert.That(after.Revision, Is.GreaterThan(before.Revision));
        Assert.That(signal.IsCompleted, Is.True);
        var expected = before with
        {
            Content = content ?? before.Content,
            ExtraMetadata = ReferenceMerge.Merge(before.ExtraMetadata, patch ?? "{}"),
            UpdatedAt = Time.GetUtcNow(),
            Revision = after.Revision,
        };
        AssertSame(after, expected);
        AssertSame(await ReadAsync(before.Id), expected);
    }

    /// <summary>An image message takes the chat app's keys in any state.</summary>
    [TestCaseSource(nameof(States))]
    public async Task UpdateMessage_KeepsTheState_WhenTheChatAppAddsItsKeys(string state)
    {
        var before = await InStateAsync(state);

        var after = await MergeAsync(before, """{"reactions":{"👍":2}}""");

        AssertSame(
            after,
            before with
            {
                Revision = after.Revision,
                ExtraMetadata = ReferenceMerge.Merge(before.ExtraMetadata, """{"reactions":{"👍":2}}"""),
            });
    }

    /// <summary>The exact sentence: callers show it.</summary>
    [Test]
    public void UpdateMessage_Throws_WhenThereIsNoSuchMessage() =>
        Assert.That(
            () => Store.UpdateMessageAsync(42, "x", MetadataPatch.Parse("""{"a":1}"""), CancellationToken.None),
            Throws.TypeOf<MessageNotFoundException>().With.Message.EqualTo("Message 42 not found"));

    /// <summary>Text of every kind and length comes back as it went in.</summary>
    [TestCase("ş ğ ı İ 🎨 </script> ' \" \\ \r\n\t")]
    [TestCase("  blanks outside  ")]
    public async Task UpdateMessage_KeepsText_AsItIs(string text)
    {
        var message = await AddAsync();
        foreach (var content in new[] { text, string.Concat(Enumerable.Repeat(text, 1000)) })
        {
            var updated = await Store.UpdateMessageAsync(message.Id, content, MetadataPatch.Of(("t", content)), CancellationToken.None);

            Assert.That(updated.Content, Is.EqualTo(content));
            Assert.That(updated.Metadata.GetProperty("t").GetString(), Is.EqualTo(content));
        }
    }

    private Task<Message> MergeAsync(Message message, string patch) =>
        Store.UpdateMessageAsync(message.Id, null, MetadataPatch.Parse(patch), CancellationToken.None);

    private static void AssertMetadata(string expected, Message? actual) =>
        Assert.That(JsonStructure.Difference(expected, actual?.ExtraMetadata), Is.Null);
}
