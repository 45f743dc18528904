using ImageQueue.Core.Requests;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

public abstract partial class MessageStoreContract
{
    /// <summary>é is one letter or two, as the keyboard sends it: one user, one conversation.</summary>
    [Test]
    public async Task Names_AreComparedInNfc()
    {
        const string one = "Zo\u00eb";
        const string two = "Zoe\u0308";
        var message = await Store.AddAsync(new NewMessage($"chat of {two}", two, MessageRole.User, "x", null), CancellationToken.None);
        var again = await Store.AddAsync(new NewMessage($"chat of {one}", one, MessageRole.User, "y", null), CancellationToken.None);

        Assert.That((message.ConversationId, again.ConversationId), Is.EqualTo(($"chat of {one}", $"chat of {one}")));
        Assert.That((await Store.FindConversationAsync($"chat of {two}", CancellationToken.None))?.Username, Is.EqualTo(one));
        Assert.That(await Store.ListAsync($"chat of {two}", 0, 10, CancellationToken.None), Has.Count.EqualTo(2));
        Assert.That(await Store.ListBackwardsAsync($"chat of {two}", long.MaxValue, 10, CancellationToken.None), Has.Count.EqualTo(2));
        Assert.That(await Store.ListConversationsAsync(two, long.MaxValue, 10, CancellationToken.None), Has.Count.EqualTo(1));
        Assert.That(await Store.ChangesSinceAsync(0, $"chat of {two}", 10, CancellationToken.None), Has.Count.EqualTo(2));
        Assert.That(await Store.CloseConversationAsync($"chat of {two}", CancellationToken.None), Is.True);
        Assert.That(StoredName.Normalize("half \ud83d"), Is.EqualTo("half \ud83d"), "no valid Unicode: unchanged");
    }

    private static NewMessage Words(string content = "Merhaba", string username = Owner, string conversation = Conversation) =>
        new(conversation, username, MessageRole.User, content, MetadataPatch.Parse("""{"a":1}"""));

    private static IdempotencyKey Key(string key, string content) => new(key, RequestFingerprint.Of("messages", content));

    /// <summary>The same key and request: the message that is there; nothing is written.</summary>
    [Test]
    public async Task AddOnce_GivesTheSameMessage_WhenTheSameComesAgain()
    {
        var first = await Store.AddAsync(Words(), Key("k", "one"), CancellationToken.None);
        var again = await Store.AddAsync(Words(), Key("k", "one"), CancellationToken.None);
        var other = await Store.AddAsync(Words(), Key("k2", "one"), CancellationToken.None);

        Assert.That((first.IsReplay, again.IsReplay, other.IsReplay), Is.EqualTo((false, true, false)));
        AssertSame(again.Message, first.Message);
        AssertSame(await ReadAsync(first.Message.Id), first.Message);
        Assert.That(
            (first.Message.IdempotencyKey, first.Message.RequestHash, first.Message.IsImage),
            Is.EqualTo(("k", RequestFingerprint.Of("messages", "one"), false)));
        Assert.That(await ListAsync(), Has.Count.EqualTo(2));
    }

    /// <summary>Many at once make one.</summary>
    [Test]
    public async Task AddOnce_AddsOne_WhenTheSameComesAtOnce()
    {
        var all = await Task.WhenAll(
            Enumerable.Range(0, 16).Select(_ => Task.Run(() => Store.AddAsync(Words(), Key("k", "one"), CancellationToken.None))));

        Assert.That(all.Count(one => !one.IsReplay), Is.EqualTo(1));
        Assert.That(all.Select(one => one.Message.Id).Distinct().Count(), Is.EqualTo(1));
    }

    /// <summary>A key belongs to one request, of whichever kind.</summary>
    [Test]
    public async Task AddOnce_IsRefused_WhenTheKeyWasAnothers()
    {
        await Store.AddAsync(Words(), Key("k", "one"), CancellationToken.None);
        await SubmitAsync(ImageRequest(key: "image") with { RequestHash = RequestFingerprint.Of("images", "one") });

        Assert.That(
            () => Store.AddAsync(Words("anders"), Key("k", "two"), CancellationToken.None),
            Throws.TypeOf<IdempotencyKeyReusedException>());
        Assert.That(
            () => Store.AddAsync(Words(), Key("image", "one"), CancellationToken.None), Throws.TypeOf<IdempotencyKeyReusedException>());
        Assert.That(
            () => SubmitAsync(ImageRequest(key: "k") with { RequestHash = RequestFingerprint.Of("images", "one") }),
            Throws.TypeOf<IdempotencyKeyReusedException>());
        Assert.That(
            () => Store.AddAsync(Words(username: "veli"), Key("k", "one"), CancellationToken.None),
            Throws.TypeOf<ConversationForbiddenException>());
    }

    /// <summary>What was sent decides, not what the defaults of the day made of it.</summary>
    [Test]
    public async Task Submit_IsAReplay_WhenTheSameWasSent_ThoughTheDefaultsHaveChanged()
    {
        var sent = RequestFingerprint.Of("images", "what was sent");
        var first = await SubmitAsync(ImageRequest(key: "k", settings: new() { ["steps"] = 20 }) with { RequestHash = sent });

        var again = await Store.SubmitAsync(
            ImageRequest(key: "k", settings: new() { ["steps"] = 28 }) with { RequestHash = sent },
            UserLimits.None,
            CancellationToken.None);

        Assert.That(again.IsReplay, Is.True);
        AssertSame(again.Message, first);
        Assert.That(
            () =>
                SubmitAsync(ImageRequest(key: "k", settings: new() { ["steps"] = 20 }) with
                {
                    RequestHash = RequestFingerprint.Of("images", "something else"),
                }),
            Throws.TypeOf<IdempotencyKeyReusedException>());
    }

    /// <summary>A row of an earlier release does not know what was sent; then what it came to is compared.</summary>
    [Test]
    public async Task Submit_ComparesWhatItCameTo_WhenTheRowDoesNotKnowWhatWasSent()
    {
        await SubmitAsync(ImageRequest(key: "k", settings: new() { ["steps"] = 20 }));

        var again = await Store.SubmitAsync(
            ImageRequest(key: "k", settings: new() { ["steps"] = 20 }) with { RequestHash = "h" }, UserLimits.None, CancellationToken.None);

        Assert.That(again.IsReplay, Is.True);
        Assert.That(
            () =>
                SubmitAsync(ImageRequest(key: "k", settings: new() { ["steps"] = 28 }) with { RequestHash = "h" }),
            Throws.TypeOf<IdempotencyKeyReusedException>());
    }

    /// <summary>Backwards from an id, the newest first.</summary>
    [Test]
    public async Task ListBackwards_GivesTheNewestBeforeAnId()
    {
        var ids = new List<long>();
        for (var i = 0; i < 5; i++)
        {
            ids.Add((await AddAsync(content: $"m{i}")).Id);
            await AddAsync(conversation: "other");
        }

        Assert.That(await IdsBeforeAsync(long.MaxValue, 2), Is.EqualTo(new[] { ids[4], ids[3] }));
        Assert.That(await IdsBeforeAsync(ids[3], 10), Is.EqualTo(new[] { ids[2], ids[1], ids[0] }));
        Assert.That(await IdsBeforeAsync(ids[0], 10), Is.Empty);
    }

    /// <summary>By the newest message; one user's only, each on one page.</summary>
    [Test]
    public async Task ListConversations_GivesAUsersOwn_ByTheirNewestMessages()
    {
        foreach (var conversation in new[] { "a", "b", "c" })
            await AddAsync(conversation: conversation, content: $"{conversation} nedir?");
        await AddAsync(conversation: "veli's", username: "veli");
        await AddAsync(conversation: "IMAGE", username: "AYŞE");
        Time.Advance(TimeSpan.FromMinutes(1));
        var newest = await SubmitAsync(ImageRequest(conversation: "a"));
        Time.Advance(TimeSpan.FromMinutes(1));
        newest = Applied(await Store.CancelAsync(newest.Id, "c", CancellationToken.None));

        var first = await Store.ListConversationsAsync(Owner, long.MaxValue, 2, CancellationToken.None);
        var second = await Store.ListConversationsAsync(Owner, first[^1].LastMessageId, 2, CancellationToken.None);

        Assert.That(first.Concat(second).Select(one => one.Conversation.Id), Is.EqualTo(new[] { "a", "c", "b" }));
        Assert.That(first[0], Is.EqualTo(new ConversationSummary(
            new Conversation("a", Owner, "a nedir?", Time.GetUtcNow() - TimeSpan.FromMinutes(2)), newest.Id, Time.GetUtcNow())));
        Assert.That(await Store.ListConversationsAsync("mehmet", long.MaxValue, 2, CancellationToken.None), Is.Empty);
    }

    /// <summary>The bound is on the merged document, under the row's lock: many small patches do not get past it either.</summary>
    [Test]
    public async Task Update_IsRefused_WhenTheDocumentWouldGrowTooLarge()
    {
        var message = await AddAsync("""{"a":1}""");
        for (var i = 0; i < 4; i++)
            await PatchAsync(message.Id, $"k{i}", new string('ş', 30_000));
        for (var i = 4; i < 8; i++)
            await PatchAsync(message.Id, $"k{i}", new string('a', 30_000));
        await PatchAsync(message.Id, "k8", new string('a', 21_000));
        var before = await ReadAsync(message.Id);

        Assert.That(() => PatchAsync(message.Id, "k9", new string('a', 30_000)), Throws.TypeOf<DocumentTooLargeException>());
        AssertSame(await ReadAsync(message.Id), before!);
        Assert.That(
            () => Store.UpdateMessageAsync(message.Id + 1000, null, MetadataPatch.Parse("{}"), CancellationToken.None),
            Throws.TypeOf<MessageNotFoundException>());

        await PatchAsync(message.Id, "k8", null);
        await PatchAsync(message.Id, "k9", new string('a', 20_000));
    }

    /// <summary>What is too large already may shrink, and its content may change.</summary>
    [Test]
    public async Task Update_IsTaken_WhenALargeDocumentShrinks()
    {
        var message = await AddAsync();
        await Database.SetMetadataAsync(message.Id, $$"""{"a":"{{new string('x', 150_000)}}","b":"{{new string('x', 150_000)}}"}""");

        Assert.That(() => PatchAsync(message.Id, "c", "y"), Throws.TypeOf<DocumentTooLargeException>());
        await PatchAsync(message.Id, "a", "shorter");
        await Store.UpdateMessageAsync(message.Id, "yeni", null, CancellationToken.None);

        Assert.That((await ReadAsync(message.Id))!.Content, Is.EqualTo("yeni"));
    }

    /// <summary>ImageQueue's own writes are not held to it: no image is lost because a chat app has written much.</summary>
    [Test]
    public async Task Complete_IsTaken_WhenTheDocumentIsFull()
    {
        var message = await InStateAsync(MessageStatus.Processing);
        var full = message.ExtraMetadata.TrimEnd()[..^1] + $$""","a":"{{new string('x', MetadataPatch.MaxDocumentLength)}}"}""";
        await Database.SetMetadataAsync(message.Id, full);

        Assert.That((await CompleteAsync(message)).Applied, Is.True);
    }

    private Task<Message> PatchAsync(long id, string key, string? value) =>
        Store.UpdateMessageAsync(id, null, MetadataPatch.Of((key, value)), CancellationToken.None);

    private async Task<IEnumerable<long>> IdsBeforeAsync(long before, int limit) =>
        (await Store.ListBackwardsAsync(Conversation, before, limit, CancellationToken.None)).Select(message => message.Id);
}
