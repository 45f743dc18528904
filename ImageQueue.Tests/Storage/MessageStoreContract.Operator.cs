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

        Assert.That(
            steps.Select(step => (step.What, step.Attempt, step.Backend, step.Why)), Is.EqualTo(new (string, int, string?, string?)[]
        {
            (RequestEventKinds.Submitted, 0, null, null),
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
            Assert.That(steps[2].At - steps[1].At, Is.EqualTo(TimeSpan.FromSeconds(2)));
        Assert.That((await ReadAsync(message.Id))!.ExtraMetadata, Does.Not.Contain("CUDA"), "a server's own words are for operators");

        await Store.EraseAsync(message.Id, CancellationToken.None);
        Assert.That((await EventsAsync(message.Id)).Single().What, Is.EqualTo(RequestEventKinds.Erased));

        async Task StepAsync(Func<Task<Transition>> step)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Assert.That((await step()).Applied, Is.True);
        }
    }

    [Test]
    public async Task Events_NameTheirActor()
    {
        Actor.Current = "user ayşe";
        var message = await InStateAsync(MessageStatus.Queued);
        await AsAsync("operator Ayla\t1", () => Store.NoteAsync(message.Id, RequestEventKinds.Prioritized, CancellationToken.None));
        await AsAsync("client chat", () => Store.CancelAsync(message.Id, "c", CancellationToken.None));
        await AsAsync(null, () => Store.RetryAsync(message.Id, 1, UserLimits.None, CancellationToken.None));
        var stored = await EventsAsync(message.Id);
        await AsAsync("client chat", () => Store.EraseAsync(message.Id, CancellationToken.None));

        Assert.That(stored.Concat(await EventsAsync(message.Id)).Select(step => (step.What, step.By)), Is.EqualTo(new (string, string?)[]
        {
            (RequestEventKinds.Submitted, "user ayşe"),
            (RequestEventKinds.Prioritized, "operator Ayla 1"),
            (RequestEventKinds.Cancelled, "client chat"),
            (RequestEventKinds.Retried, null),
            (RequestEventKinds.Erased, "client chat"),
        }));

        async Task AsAsync(string? actor, Func<Task<Transition>> step)
        {
            Actor.Current = actor;
            Applied(await step());
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

    [Test]
    public async Task SearchFinished_FindsByEachCondition()
    {
        var failed = await InStateAsync(MessageStatus.Error);
        await AddAsync("""{"status":"error","prompt":"kırmızı"}""");
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

        async Task<long[]> FoundAsync(RequestSearch search) => [.. Ids(await FinishedAsync(search))];
    }

    /// <summary>By their end, whatever the order of the submits, and after the chat app has written to one.</summary>
    [Test]
    public async Task SearchFinished_SortsByTheEnd_InBothDirections()
    {
        var submitted = new List<long>();
        for (var i = 0; i < 6; i++)
            submitted.Add((await SubmitAsync()).Id);
        long[] order = [submitted[2], submitted[5], submitted[0], submitted[4], submitted[1], submitted[3]];
        foreach (var id in order)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Applied(await Store.CancelAsync(id, "c", CancellationToken.None));
        }

        Time.Advance(TimeSpan.FromSeconds(1));
        await Store.UpdateMessageAsync(order[0], null, MetadataPatch.Parse("""{"seen":true}"""), CancellationToken.None);
        Applied(await Store.RetryAsync(order[5], 1, UserLimits.None, CancellationToken.None));
        order = [.. order[..5].Reverse()];
        var search = new RequestSearch([MessageStatus.Cancelled]);

        var first = await FinishedAsync(search, limit: 2);
        Assert.That((Ids(first), first.GoOn), Is.EqualTo((order[..2], (FinishedCursor?)null)));
        var second = await FinishedAsync(search, Cursor(first.Requests[^1]), limit: 2);
        Assert.That(Ids(second), Is.EqualTo(order[2..4]));
        Assert.That(Ids(await FinishedAsync(search, Cursor(second.Requests[0]), isNewer: true, limit: 1)), Is.EqualTo(order[1..2]));
        Assert.That(Ids(await FinishedAsync(search, Cursor(second.Requests[0]), isNewer: true, limit: 9)), Is.EqualTo(order[..2]));
    }

    /// <summary>A search that finds little ends after a number of requests, and says where to go on.</summary>
    [Test]
    public async Task SearchFinished_LooksThroughABoundedNumber_InBothDirections()
    {
        var failed = await InStateAsync(MessageStatus.Error);
        for (var i = 0; i < 3; i++)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Applied(await Store.CancelAsync((await SubmitAsync()).Id, "c", CancellationToken.None));
        }

        var search = new RequestSearch([MessageStatus.Error]);
        var found = await FinishedAsync(search, span: 2);
        Assert.That(found.Requests, Is.Empty);
        found = await FinishedAsync(search, found.GoOn, span: 2);
        Assert.That((Ids(found), found.GoOn), Is.EqualTo((new[] { failed.Id }, (FinishedCursor?)Cursor(found.Requests[0]))));
        found = await FinishedAsync(search, found.GoOn, span: 2);
        Assert.That((found.Requests.Count, found.GoOn), Is.EqualTo((0, (FinishedCursor?)null)));

        var place = Cursor((await FinishedAsync(search)).Requests[0]);
        var newer = await FinishedAsync(new([MessageStatus.Cancelled]), place, isNewer: true, span: 2);
        Assert.That((newer.Requests.Count, newer.GoOn), Is.EqualTo((2, (FinishedCursor?)Cursor(newer.Requests[0]))));
    }

    [Test]
    public async Task ListErrors_HasTheErrorsOfTheTimeSpan_TheNewestEndFirst()
    {
        var old = await InStateAsync(MessageStatus.Error);
        await Database.AgeAsync(old.Id, TimeSpan.FromHours(25));
        var (first, second) = (await InStateAsync(MessageStatus.Processing), await FailedAsync("hf-2"));
        Time.Advance(TimeSpan.FromSeconds(1));
        first = Applied(await Store.FailAsync(
            first.Id, first.Attempt, "x", new RequestFailure(ErrorCodes.Stalled, "x"), CancellationToken.None));
        await InStateAsync(MessageStatus.Cancelled);

        var errors = await Store.ListErrorsAsync(TimeSpan.FromDays(1), 10, CancellationToken.None);

        Assert.That(errors, Is.EqualTo(new[]
        {
            new RequestError(first.Id, ErrorCodes.Stalled, first.Backend, first.QueuedAt!.Value, first.FinishedAt!.Value),
            new RequestError(second.Id, ErrorCodes.BackendFailed, null, second.QueuedAt!.Value, second.FinishedAt!.Value),
        }));
        Assert.That(await Store.ListErrorsAsync(TimeSpan.FromDays(1), 1, CancellationToken.None), Has.Count.EqualTo(1));
    }

    private Task<FoundRequests> FinishedAsync(
        RequestSearch search, FinishedCursor? place = null, bool isNewer = false, int span = 1000, int limit = 10) =>
        Store.SearchFinishedAsync(search, place, isNewer, span, limit, CancellationToken.None);

    private static long[] Ids(FoundRequests found) => [.. found.Requests.Select(one => one.Message.Id)];

    private static FinishedCursor Cursor(MessageChange one) => new(one.Message.FinishedAt!.Value, one.Message.Id);

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
        var found = await FinishedAsync(search);

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
        var second = await SubmitAsync(ImageRequest("bir kedi"));
        Applied(await Store.AttachJobAsync(second.Id, "hf-2", null, CancellationToken.None));
        Applied(await Store.AttachJobAsync(first.Id, "hf-1", null, CancellationToken.None));

        var users = await Store.ListWaitingUsersAsync(5, CancellationToken.None);

        Assert.That(users, Is.EqualTo(new[] { new WaitingUser("ayşe", 2, first.QueuedAt!.Value, "hf-1") }));
    }

    private async Task<IReadOnlyList<RequestEvent>> EventsAsync(long id) =>
        (await Store.ReadEventsAsync([id], CancellationToken.None))[id];
}
