using ImageQueue.Core.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

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

    /// <summary>Each transition adds a line: when, which attempt, which backend, and why it ended.</summary>
    [Test]
    public async Task Events_HaveEveryTransition_InOrder()
    {
        var message = await InStateAsync(MessageStatus.Queued);
        await StepAsync(() => Store.ClaimAsync(message.Id, HangfireJob, "gpu1", null, CancellationToken.None));
        await StepAsync(() => Store.SaveProgressAsync(message.Id, 1, 40, CancellationToken.None));
        await StepAsync(() => Store.RequeueAsync(message.Id, 1, AttemptCharge.None, CancellationToken.None, "gpu1 is\taway\r\n🌹"));
        await StepAsync(() => Store.ClaimAsync(message.Id, HangfireJob, "gpu2", null, CancellationToken.None));
        await StepAsync(
            () =>
                Store.FailAsync(
                    message.Id,
                    2,
                    "c",
                    new RequestFailure(ErrorCodes.OutOfMemory, "x") { Reason = "CUDA out of memory" },
                    CancellationToken.None));
        await StepAsync(() => Store.RetryAsync(message.Id, 1, UserLimits.None, CancellationToken.None));
        await StepAsync(() => Store.CancelAsync(message.Id, "c", CancellationToken.None));
        await StepAsync(() => Store.RetryAsync(message.Id, 1, UserLimits.None, CancellationToken.None));
        await StepAsync(() => Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        await StepAsync(() => Store.CompleteAsync(message.Id, 3, "c", "/u", null, AnyResult, CancellationToken.None));

        var steps = await EventsAsync(message.Id);

        Assert.That(steps.Select(step => (step.What, step.Attempt, step.Backend, step.Why)), Is.EqualTo(new (string, int, string?, string?)[]
        {
            (RequestEventKinds.Claimed, 1, "gpu1", null),
            (RequestEventKinds.Requeued, 1, "gpu1", "gpu1 is away  🌹"),
            (RequestEventKinds.Claimed, 2, "gpu2", null),
            (RequestEventKinds.Error, 2, "gpu2", "out_of_memory: CUDA out of memory"),
            (RequestEventKinds.Retried, 2, "gpu2", null),
            (RequestEventKinds.Cancelled, 2, "gpu2", null),
            (RequestEventKinds.Retried, 2, "gpu2", null),
            (RequestEventKinds.Claimed, 3, null, null),
            (RequestEventKinds.Complete, 3, null, null),
        }));
        Assert.That(steps.Select(step => step.At), Is.Ordered);
        if (!Database.HasOwnClock)
            Assert.That(steps[1].At - steps[0].At, Is.EqualTo(TimeSpan.FromSeconds(2)));
        Assert.That((await ReadAsync(message.Id))!.ExtraMetadata, Does.Not.Contain("CUDA"), "a server's own words are for operators");

        await Store.EraseAsync(message.Id, CancellationToken.None);
        Assert.That(await EventsAsync(message.Id), Is.Empty);

        async Task StepAsync(Func<Task<Transition>> step)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Assert.That((await step()).Applied, Is.True);
        }
    }

    /// <summary>Events of a request that fails for ever do not grow without end; the newest are kept whole.</summary>
    [Test]
    public async Task Events_AreBounded_AndKeepTheNewest()
    {
        var message = await InStateAsync(MessageStatus.Queued);
        for (var attempt = 1; attempt <= 20; attempt++)
        {
            Applied(await Store.ClaimAsync(message.Id, HangfireJob, "gpu1", null, CancellationToken.None));
            Applied(await Store.RequeueAsync(message.Id, attempt, AttemptCharge.None, CancellationToken.None, new string('x', 5000)));
        }

        var steps = await EventsAsync(message.Id);

        Assert.That((steps[^1].What, steps[^1].Attempt, steps[^1].Why), Is.EqualTo((RequestEventKinds.Requeued, 20, new string('x', 300))));
        Assert.That(steps, Has.Count.InRange(12, 30));
        Assert.That(steps.Select(step => step.Attempt), Is.Ordered.And.All.GreaterThan(10));
    }

    /// <summary>By each of its conditions, page by page, and never through all that is kept.</summary>
    [Test]
    public async Task Search_FindsByEachCondition_InAStretch()
    {
        var failed = await InStateAsync(MessageStatus.Error);
        var plain = await AddAsync("""{"status":"error","prompt":"kırmızı"}""");
        var other = Applied(
            await Store.CancelAsync(
                (await SubmitAsync(ImageRequest("100%_blue!", conversation: "c2", username: "mehmet"))).Id, "c", CancellationToken.None));
        string[] all = [MessageStatus.Error, MessageStatus.Cancelled];

        Assert.That(await FoundAsync(new(all)), Is.EqualTo(new[] { other.Id, failed.Id }), "newest first, and no plain message");
        Assert.That(await FoundAsync(new([MessageStatus.Error])), Is.EqualTo(new[] { failed.Id }));
        Assert.That(await FoundAsync(new(all, ErrorCode: ErrorCodes.BackendFailed)), Is.EqualTo(new[] { failed.Id }));
        Assert.That(await FoundAsync(new(all, ErrorCode: ErrorCodes.Stalled)), Is.Empty);
        Assert.That(await FoundAsync(new(all, Username: "mehmet")), Is.EqualTo(new[] { other.Id }));
        Assert.That(await FoundAsync(new(all, Backend: "gpu1")), Is.Empty);
        foreach (var text in new[] { "100%_BLUE!", "c2", other.JobId!, $" {other.Id} " })
            Assert.That(await FoundAsync(new(all, Text: text)), Is.EqualTo(new[] { other.Id }), text);
        Assert.That(await FoundAsync(new(all, Text: "100_blue")), Is.Empty, "a pattern's signs are letters here");
        Assert.That(await FoundAsync(new(all, Text: HangfireJob)), Is.EqualTo(new[] { failed.Id }));

        var stretch = await Store.SearchAsync(new(all), long.MaxValue, plain.Id - failed.Id + 1, 10, CancellationToken.None);
        Assert.That((stretch.Requests.Single().Message.Id, stretch.GoOnBefore), Is.EqualTo((other.Id, (long?)plain.Id)));
        stretch = await Store.SearchAsync(new(all), plain.Id, plain.Id, 10, CancellationToken.None);
        Assert.That((stretch.Requests.Single().Message.Id, stretch.GoOnBefore), Is.EqualTo((failed.Id, (long?)null)));

        async Task<long[]> FoundAsync(RequestSearch search) =>
            [.. (await Store.SearchAsync(search, long.MaxValue, 1000, 10, CancellationToken.None)).Requests.Select(one => one.Message.Id)];
    }

    [TestCase("Meh", 2)]
    [TestCase("MEHMET İ", 1)]
    [TestCase("met", 0)]
    public async Task Search_TakesTheUserFilterAsAPrefix_InAnyCase(string user, int count)
    {
        foreach (var (conversation, username) in new[] { ("c2", "mehmet"), ("c3", "Mehmet İnce"), ("c4", "ayşe") })
        {
            var row = await SubmitAsync(ImageRequest("bir gül", conversation: conversation, username: username));
            await Store.CancelAsync(row.Id, "c", CancellationToken.None);
        }

        var search = new RequestSearch([MessageStatus.Cancelled], Username: user);
        var found = await Store.SearchAsync(search, long.MaxValue, 1000, 10, CancellationToken.None);

        Assert.That(found.Requests, Has.Count.EqualTo(count));
    }

    /// <summary>What waits is found wherever it is, the oldest place first.</summary>
    [Test]
    public async Task SearchUnfinished_FindsWhatWaits_ByItsPlace()
    {
        var first = await SubmitAsync(ImageRequest("bir kedi"));
        await InStateAsync(MessageStatus.Complete);
        Time.Advance(TimeSpan.FromSeconds(1));
        var second = await SubmitAsync(ImageRequest("bir Kedi daha"));
        await SubmitAsync(ImageRequest("bir gül"));

        var found = await Store.SearchUnfinishedAsync(new([MessageStatus.Queued], Text: "kedi"), 10, CancellationToken.None);

        Assert.That(found.Select(one => one.Message.Id), Is.EqualTo(new[] { first.Id, second.Id }));
        Assert.That(
            await Store.SearchUnfinishedAsync(new([MessageStatus.Queued], Username: "mehmet"), 10, CancellationToken.None), Is.Empty);
    }

    [TestCase("yağmur")]
    [TestCase("YAĞMUR")]
    [TestCase("ışık")]
    [TestCase("IŞIK")]
    [TestCase("lion")]
    [TestCase("LION")]
    [TestCase("istanbul")]
    public async Task Search_FoldsCase_InTurkishAndEnglish(string text)
    {
        var request = await SubmitAsync(ImageRequest("YAĞMUR Işık Lion İstanbul yağmur ışık lIon"));
        await SubmitAsync(ImageRequest("bir gül"));
        var search = new RequestSearch([MessageStatus.Queued], Text: text);

        var unfinished = await Store.SearchUnfinishedAsync(search, 10, CancellationToken.None);
        Assert.That(unfinished.Select(one => one.Message.Id), Is.EqualTo(new[] { request.Id }));
        Assert.That(await Store.ListMatchingAsync(search, 0, 10, CancellationToken.None), Is.EqualTo(new[] { request.Id }));
        Assert.That(await Store.CountMatchingAsync(search, CancellationToken.None), Is.EqualTo(1));
        Assert.That(await Store.ListMatchingAsync(search, request.Id, 10, CancellationToken.None), Is.Empty);
        Assert.That(await Store.CountMatchingAsync(search with { Statuses = [MessageStatus.Error] }, CancellationToken.None), Is.Zero);
    }

    [TestCase("AYŞ", 1)]
    [TestCase("ayşe", 1)]
    [TestCase("yşe", 0)]
    public async Task Search_FindsUsers_ByPrefix(string user, int count)
    {
        await SubmitAsync(ImageRequest("bir gül"));
        Assert.That(await Store.CountMatchingAsync(new([MessageStatus.Queued], Username: user), CancellationToken.None), Is.EqualTo(count));
    }

    [Test]
    public async Task ListWaitingUsers_CountsWaitingRequests()
    {
        await InStateAsync(MessageStatus.Complete);
        var first = await SubmitAsync(ImageRequest("bir gül"));
        Time.Advance(TimeSpan.FromSeconds(1));
        await SubmitAsync(ImageRequest("bir kedi"));

        var users = await Store.ListWaitingUsersAsync(5, CancellationToken.None);

        Assert.That(users, Is.EqualTo(new[] { new WaitingUser("ayşe", 2, first.QueuedAt!.Value) }));
    }

    private async Task<IReadOnlyList<RequestEvent>> EventsAsync(long id) =>
        (await Store.ReadEventsAsync([id], CancellationToken.None))[id];
}
