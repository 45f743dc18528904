using System.Text.Json.Nodes;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>Uploads, and the requests that name them.</summary>
public abstract partial class MessageStoreContract
{
    private const string Photo = "00000000000000000000000000000aaa";
    private const string Mask = "00000000000000000000000000000bbb";

    [Test]
    public async Task AddUploadAsync_RoundTrips_BeforeItsConversationExists()
    {
        var upload = new Upload(Photo, "yepyeni", 640, 480);

        await Store.AddUploadAsync(upload, default);

        Assert.That(await Store.FindUploadAsync(Photo, default), Is.EqualTo(upload));
        Assert.That(await Store.FindUploadAsync(Mask, default), Is.Null);
    }

    [Test]
    public async Task AddUploadAsync_AddsNothing_WhenTheConversationIsErased()
    {
        await AddAsync();
        await Store.CloseConversationAsync(Conversation, default);

        Assert.That(
            () => Store.AddUploadAsync(new Upload(Photo, Conversation, 8, 8), default), Throws.TypeOf<ConversationDeletedException>());
        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Null);
    }

    [Test]
    public async Task Submit_KeepsItsUploads_UntilTheLastMessageIsErased()
    {
        await UploadAsync(Photo, Mask);
        var source = new ImageSource { UploadId = Photo, Strength = 0.75m, MaskUploadId = Mask };
        var both = await Store.SubmitAsync([From(source), From(source)], UserLimits.None, default);

        Assert.That(await ForgetUnusedAsync(), Is.Empty, "they are used");
        var stored = ImageSource.Of((await ReadAsync(both[0].Message.Id))!);
        Assert.That(stored, Is.EqualTo(source));

        await Store.EraseAsync(both[0].Message.Id, default);
        await Store.EraseAsync(both[0].Message.Id, default);
        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Not.Null, "the other one names it; an erasure counts once");
        await Store.EraseAsync(both[1].Message.Id, default);
        Assert.That((await Store.FindUploadAsync(Photo, default), await Store.FindUploadAsync(Mask, default)),
            Is.EqualTo(((Upload?)null, (Upload?)null)));
    }

    [Test]
    public async Task Submit_CountsAnUploadOnce_WhenItIsItsOwnMask()
    {
        await UploadAsync(Photo);
        var message = await SubmitAsync(From(new ImageSource { UploadId = Photo, MaskUploadId = Photo }));

        await Store.EraseAsync(message.Id, default);

        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Null);
    }

    [TestCase(Photo, null, "source.upload_id")]
    [TestCase(null, Mask, "source.mask_upload_id")]
    public async Task Submit_AddsNothing_WhenAnUploadIsGone(string? photo, string? mask, string field)
    {
        await UploadAsync([.. new[] { Photo, Mask }.Where(id => id != photo && id != mask)]);

        var refusal = Assert.ThrowsAsync<SourceException>(
            () => Store.SubmitAsync([From(new ImageSource { UploadId = Photo, MaskUploadId = Mask })], UserLimits.None, default))!;

        Assert.That((refusal.Problem, refusal.Field), Is.EqualTo((SourceProblem.NotFound, field)));
        Assert.That(await Store.FindConversationAsync(Conversation, default), Is.Null);
        Assert.That(await ForgetUnusedAsync(Photo, Mask), Is.EquivalentTo(new[] { Photo, Mask }), "the other one is not used either");
    }

    [Test]
    public async Task ReleaseUploadsAsync_TakesTheNamesOut_Once()
    {
        await UploadAsync(Photo);
        var source = new ImageSource { UploadId = Photo, Strength = 0.5m };
        var other = await SubmitAsync(From(source));
        var message = await SubmitAsync(From(source));
        message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, default));

        await Store.ReleaseUploadsAsync(message.Id, default);
        Assert.That(ImageSource.Of((await ReadAsync(message.Id))!), Is.EqualTo(source), "it is not finished");
        Applied(await CompleteAsync(message));
        await Store.ReleaseUploadsAsync(message.Id, default);
        await Store.ReleaseUploadsAsync(message.Id, default);
        await Store.EraseAsync(message.Id, default);

        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Not.Null, "the other one names it");
        await Store.EraseAsync(other.Id, default);
        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Null);
    }

    [Test]
    public async Task ReleaseUploadsAsync_WritesNothing_WhenThereIsNoUpload()
    {
        var message = await InStateAsync(MessageStatus.Complete);

        await Store.ReleaseUploadsAsync(message.Id, default);

        AssertSame(await ReadAsync(message.Id), message);
    }

    [Test]
    public async Task ForgetUploadsOfAsync_RemovesTheUnusedOnes_OfThatConversation()
    {
        await UploadAsync(Photo, Mask);
        await Store.AddUploadAsync(new Upload("00000000000000000000000000000ccc", "başka", 8, 8), default);
        await SubmitAsync(From(new ImageSource { UploadId = Photo }));

        Assert.That(await Store.ForgetUploadsOfAsync(Conversation, default), Is.EqualTo(new[] { Mask }));
        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Not.Null);
        Assert.That(await Store.FindUploadAsync("00000000000000000000000000000ccc", default), Is.Not.Null);
    }

    [Test]
    public async Task ForgetUploadsAsync_RemovesTheseRowsAlone_UnlessAMessageNamesThem()
    {
        const string Another = "00000000000000000000000000000ddd";
        await UploadAsync(Photo, Mask, Another);
        await SubmitAsync(From(new ImageSource { UploadId = Photo }));

        Assert.That(await Store.ForgetUploadsAsync([Photo, Mask], default), Is.EqualTo(new[] { Mask }));

        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Not.Null);
        Assert.That(await Store.FindUploadAsync(Mask, default), Is.Null);
        Assert.That(await Store.FindUploadAsync(Another, default), Is.Not.Null, "another call may be about to name it");
    }

    [Test]
    public async Task ForgetUnusedUploadsAsync_RemovesOldRows_AndNamesTheFilesWithoutOne()
    {
        await UploadAsync(Photo);
        const string Orphan = "00000000000000000000000000000ddd";

        Assert.That(
            await Store.ForgetUnusedUploadsAsync([Photo, Orphan], TimeSpan.FromDays(1), default), Is.EqualTo(new[] { Orphan }),
            "not that old");
        Assert.That(await ForgetUnusedAsync(Photo), Is.EqualTo(new[] { Photo }));
        Assert.That(await Store.FindUploadAsync(Photo, default), Is.Null);
    }

    [Test]
    public async Task Submit_AcceptsAllOrNone_WhenTheLimitIsBetween()
    {
        await SubmitAsync();
        var three = new[] { ImageRequest(), ImageRequest(), ImageRequest() };

        Assert.That(() => Store.SubmitAsync(three, new UserLimits(3), default), Throws.TypeOf<TooManyPendingException>());
        Assert.That(await Store.CountAsync(MessageStatus.Queued, default), Is.EqualTo(1));
        var one = three[0].Work;
        Assert.That(() => Store.SubmitAsync(three, new UserLimits(9, one * 3.5), default), Throws.TypeOf<TooManyPendingException>());
        var submitted = await Store.SubmitAsync(three, new UserLimits(4, one * 4), default);

        Assert.That(submitted.Select(each => each.Message.JobId), Is.EqualTo(three.Select(each => each.JobId)), "in order");
        Assert.That(submitted.Select(each => each.Message.Id), Is.Ordered);
        Assert.That(() => Store.SubmitAsync(ImageRequest(), new UserLimits(4), default), Throws.TypeOf<TooManyPendingException>());
    }

    [Test]
    public async Task Submit_ReturnsTheWholeGroup_WhenItsKeyComesAgain()
    {
        NewImageMessage[] Three() =>
            [.. Enumerable.Range(0, 3).Select(i => ImageRequest(key: $"anahtar{i}") with { GroupId = "g", RequestHash = "h" })];
        var first = await Store.SubmitAsync(Three(), UserLimits.None, default);

        var again = await Store.SubmitAsync(Three(), new UserLimits(0), default);

        Assert.That(again.Select(one => (one.Message.Id, one.IsReplay)), Is.EqualTo(first.Select(one => (one.Message.Id, true))));
        Assert.That(again.Select(one => one.Message.GroupId), Is.All.EqualTo("g"));
        Assert.That(
            () => Store.SubmitAsync([.. Three().Select(one => one with { RequestHash = "başka" })], UserLimits.None, default),
            Throws.TypeOf<IdempotencyKeyReusedException>());

        // Seen before: the key of a group whose first image was erased was refused by the index for good.
        await Store.EraseAsync(first[0].Message.Id, default);
        var rest = await Store.SubmitAsync(Three(), UserLimits.None, default);
        Assert.That(
            rest.Select(one => (one.Message.Id, one.IsReplay)), Is.EqualTo(first.Skip(1).Select(one => (one.Message.Id, true))));
    }

    private async Task UploadAsync(params string[] ids)
    {
        foreach (var id in ids)
            await Store.AddUploadAsync(new Upload(id, Conversation, 64, 64), default);
    }

    /// <summary>Whatever their age: no clock of a test's moves a server's.</summary>
    private async Task<IReadOnlyList<string>> ForgetUnusedAsync(params string[] ids) =>
        await Store.ForgetUnusedUploadsAsync(ids, TimeSpan.FromSeconds(-5), default);

    private NewImageMessage From(ImageSource source) => ImageRequest(settings: new JsonObject { ["width"] = 64 }) with { Source = source };
}
