using System.Text.Json.Nodes;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>The queue as a whole: a user's share of it, jobs in pages, silence.</summary>
public abstract partial class MessageStoreContract
{
    /// <summary>A retry takes a place like any other.</summary>
    [TestCase(MessageStatus.Error)]
    [TestCase(MessageStatus.Cancelled)]
    public async Task Retry_IsRefused_WhenTheUserHasTooManyWaiting(string state)
    {
        var over = await InStateAsync(state);
        await SubmitAsync(ImageRequest(conversation: "c2"));
        await SubmitAsync(ImageRequest(conversation: "c3", username: "başka"));

        Assert.That(
            () => RetryAsync(over, new UserLimits(1)), Throws.TypeOf<TooManyPendingException>().With.Message.Contains("1 images waiting"));
        AssertSame(await ReadAsync(over.Id), over);
        Assert.That((await RetryAsync(over, new UserLimits(2))).Applied, Is.True);
        Assert.That(
            () => Store.SubmitAsync(ImageRequest(), new UserLimits(2), CancellationToken.None),
            Throws.TypeOf<TooManyPendingException>(),
            "the retried one counts");
    }

    /// <summary>A forbidden state is refused as such, whatever the limits say.</summary>
    [Test]
    public async Task Retry_IsNoMatterOfLimits_WhenTheStateForbidsIt()
    {
        var processing = await InStateAsync(MessageStatus.Processing);
        await SubmitAsync();

        Assert.That((await RetryAsync(processing, new UserLimits(1))).Applied, Is.False);
        Assert.That((await RetryAsync(await AddAsync(), new UserLimits(1))).Applied, Is.False);
        Assert.That(await Store.RetryAsync(4711, 1, new UserLimits(1), CancellationToken.None), Is.EqualTo(new Transition(false, null)));
    }

    /// <summary>Submits and retries of one user come one after the other, at whichever process.</summary>
    [Test]
    public async Task Limits_Hold_WhenSubmitsAndRetriesComeAtOnce()
    {
        var over = new List<Message>();
        for (var i = 0; i < 8; i++)
            over.Add(Applied(await Store.CancelAsync((await SubmitAsync()).Id, "x", CancellationToken.None)));
        var requests = Enumerable.Range(0, 8).Select(i => ImageRequest(conversation: $"c{i % 3}")).ToList();
        await using var other = Database.Open(Time, Signal);

        var taken = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(async () =>
        {
            var store = i % 3 == 0 ? Store : other.Store;
            try
            {
                return i < 8
                    ? (await store.RetryAsync(over[i].Id, 1, new UserLimits(5), CancellationToken.None)).Applied
                    : !(await store.SubmitAsync(requests[i - 8], new UserLimits(5), CancellationToken.None)).IsReplay;
            }
            catch (TooManyPendingException)
            {
                return false;
            }
        })));

        Assert.That(taken.Count(one => one), Is.EqualTo(5));
        Assert.That(await Store.CountAsync(MessageStatus.Queued, CancellationToken.None), Is.EqualTo(5));
    }

    /// <summary>A few large ones are as much as many small ones.</summary>
    [Test]
    public async Task Submit_IsRefused_WhenTheUsersWorkIsTooMuch()
    {
        var limits = new UserLimits(20, MaxWork: 40);
        await SubmitAsync(Request(1000, 1000, 30), limits); // 30 megapixel-steps
        await SubmitAsync(Request(500, 1000, 20) with { Username = "başka", ConversationId = "c3" }, limits);

        Assert.That(
            () => SubmitAsync(Request(500, 1000, 21), limits),
            Throws.TypeOf<TooManyPendingException>().With.Message.StartsWith(
                "With this one, your waiting images would ask for more than 40 megapixel-steps."));
        var fits = await SubmitAsync(Request(500, 1000, 20), limits);

        Applied(await Store.ClaimAsync(fits.Id, HangfireJob, null, null, CancellationToken.None));
        var second = await SubmitAsync(Request(500, 1000, 20), limits);
        Applied(await Store.CancelAsync(second.Id, "x", CancellationToken.None));
        var third = await SubmitAsync(Request(500, 1000, 2), limits);

        Assert.That(() => RetryAsync(second, limits), Throws.TypeOf<TooManyPendingException>(), "by what it asked for");
        Applied(await Store.CancelAsync(third.Id, "x", CancellationToken.None));
        Assert.That((await RetryAsync(second, limits)).Applied, Is.True);

        Assert.That(
            () => Store.RequeueAsync(fits.Id, 1, AttemptCharge.None, CancellationToken.None),
            Throws.Nothing,
            "what was let in once is not refused");
        Assert.That(() => SubmitAsync(Request(64, 64, 1), limits), Throws.TypeOf<TooManyPendingException>(), "and it counts again");
    }

    /// <summary>One that is larger than the limit by itself would never be let in.</summary>
    [Test]
    public async Task Submit_IsTaken_WhenTheUserHasNothingWaiting_HoweverLargeItIs()
    {
        await SubmitAsync(Request(2048, 2048, 150), new UserLimits(20, MaxWork: 1));

        Assert.That(() => SubmitAsync(Request(64, 64, 1), new UserLimits(20, MaxWork: 1)), Throws.TypeOf<TooManyPendingException>());
    }

    /// <summary>A page of jobs is one commit, each row under its own guard.</summary>
    [Test]
    public async Task AttachJobs_AttachesThePage_AndNamesThoseItWasRefusedFor()
    {
        var (fresh, known) = (await SubmitAsync(), await SubmitAsync());
        known = Applied(await Store.AttachJobAsync(known.Id, "hf-old", null, CancellationToken.None));
        var moved = Applied(await Store.AttachJobAsync((await SubmitAsync()).Id, "hf-other", null, CancellationToken.None));
        var hasOne = Applied(await Store.AttachJobAsync((await SubmitAsync()).Id, "hf-its", null, CancellationToken.None));
        var claimed = Applied(await Store.ClaimAsync((await SubmitAsync()).Id, "hf-claimed", null, null, CancellationToken.None));
        var plain = await AddAsync("""{"status":"queued"}""");
        Time.Advance(TimeSpan.FromSeconds(5));
        var signal = Signal.Next;

        var refused = await Store.AttachJobsAsync(
            [
                (fresh.Id, "hf-1", null), (known.Id, "hf-2", "hf-old"), (moved.Id, "hf-3", "hf-old"), (hasOne.Id, "hf-4", null),
                (claimed.Id, "hf-5", "hf-claimed"), (plain.Id, "hf-6", null), (4711, "hf-7", null),
            ],
            CancellationToken.None);

        Assert.That(refused, Is.EquivalentTo(new[] { moved.Id, hasOne.Id, claimed.Id, plain.Id, 4711 }));
        Assert.That(signal.IsCompleted, Is.True);
        foreach (var (before, job) in new[] { (fresh, "hf-1"), (known, "hf-2") })
        {
            var after = (await ReadAsync(before.Id))!;
            Assert.That(after.Revision, Is.GreaterThan(plain.Revision));
            AssertSame(after, before with { HangfireJobId = job, UpdatedAt = Time.GetUtcNow(), Revision = after.Revision });
        }

        foreach (var untouched in new[] { moved, hasOne, claimed, plain })
            AssertSame(await ReadAsync(untouched.Id), untouched);
    }

    /// <summary>Writes and signals nothing; the same page again changes nothing.</summary>
    [Test]
    public async Task AttachJobs_WritesNothing_WhenNothingIsLeftToAttach()
    {
        var message = await SubmitAsync();
        Assert.That(await Store.AttachJobsAsync([(message.Id, "hf-1", null)], CancellationToken.None), Is.Empty);
        var signal = Signal.Next;

        Assert.That(await Store.AttachJobsAsync([], CancellationToken.None), Is.Empty);
        Assert.That(await Store.AttachJobsAsync([(message.Id, "hf-2", null)], CancellationToken.None), Is.EqualTo(new[] { message.Id }));
        Assert.That(signal.IsCompleted, Is.False);
    }

    /// <summary>More rows than one statement takes; each gets its own job and its own revision.</summary>
    [Test]
    public async Task AttachJobs_TakesLongPages()
    {
        var ids = new List<long>();
        for (var i = 0; i < 450; i++)
            ids.Add((await SubmitAsync()).Id);

        Assert.That(await Store.AttachJobsAsync([.. ids.Select(id => (id, $"hf-{id}", (string?)null))], CancellationToken.None), Is.Empty);

        var waiting = await Store.ListWaitingAsync(null, 1000, CancellationToken.None);
        Assert.That(waiting.Select(row => row.HangfireJobId), Is.EqualTo(waiting.Select(row => $"hf-{row.Id}")));
        var changes = await Store.ChangesSinceAsync(0, null, 1000, CancellationToken.None);
        Assert.That(changes.Select(change => change.Message.Revision), Is.Unique);
    }

    /// <summary>Silence is judged by the clock that wrote the heartbeat; who speaks, is over, or waits, is not silent.</summary>
    [Test]
    public async Task ListSilent_GivesThoseWhoseHeartbeatIsOld_OldestPlaceFirst()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 5; i++)
            rows.Add(Applied(await Store.ClaimAsync((await SubmitAsync()).Id, $"hf-{i}", null, null, CancellationToken.None)));
        var queued = await SubmitAsync();
        var complete = await InStateAsync(MessageStatus.Complete);
        foreach (var (row, minutes) in new[]
        {
            (rows[0], 30),
            (rows[1], 50),
            (rows[2], 40),
            (rows[3], 40),
            (rows[4], 10),
            (queued, 40),
            (complete, 40),
        })
        {
            await Database.AgeAsync(row.Id, TimeSpan.FromMinutes(minutes));
        }

        Applied(await Store.SaveProgressAsync(rows[3].Id, 1, 1, CancellationToken.None)); // That one has just spoken.

        var pages = new List<long>();
        UnfinishedCursor? after = null;
        while (await Store.ListSilentAsync(TimeSpan.FromMinutes(20), after, 2, CancellationToken.None) is { Count: > 0 } page)
        {
            pages.AddRange(page.Select(row => row.Id));
            after = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id);
        }

        Assert.That(pages, Is.EqualTo(new[] { rows[1].Id, rows[2].Id, rows[0].Id }));
        Assert.That(await Store.ListSilentAsync(TimeSpan.FromMinutes(60), null, 10, CancellationToken.None), Is.Empty);
    }

    /// <summary>The same for what waits without a job.</summary>
    [Test]
    public async Task ListJobless_GivesThoseThatHaveWaitedForLong_OldestFirst()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 5; i++)
            rows.Add(await SubmitAsync());
        var cancelled = Applied(await Store.CancelAsync((await SubmitAsync()).Id, "x", CancellationToken.None));
        var hasOne = await InStateAsync(MessageStatus.Queued);
        foreach (var (row, minutes) in new[] { (rows[0], 30), (rows[1], 50), (rows[2], 40), (rows[4], 5), (cancelled, 40), (hasOne, 40) })
            await Database.AgeAsync(row.Id, TimeSpan.FromMinutes(minutes));

        var pages = new List<WaitingRequest>();
        UnfinishedCursor? after = null;
        while (await Store.ListJoblessAsync(TimeSpan.FromMinutes(10), after, 2, CancellationToken.None) is { Count: > 0 } page)
        {
            pages.AddRange(page);
            after = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        Assert.That(
            pages.Select(row => (row.Id, row.HangfireJobId, row.QueuePosition)),
            Is.EqualTo(new[] { (rows[1].Id, (string?)null, 3), (rows[2].Id, null, 3), (rows[0].Id, null, 3) }));
    }

    /// <summary>What drives the writer of positions: the row with what is stored in it.</summary>
    [TestCase("7", 7)]
    [TestCase("\"first\"", 0)]
    [TestCase("null", 0)]
    [TestCase("2.5", 0)]
    [TestCase("99999999999999999999", 0)]
    public async Task ListWaiting_GivesTheStoredPosition(string stored, int position)
    {
        var message = await SubmitAsync();
        await MergeAsync(message, $$"""{"queue_position":{{stored}}}""");

        Assert.That((await Store.ListWaitingAsync(null, 10, CancellationToken.None)).Single().QueuePosition, Is.EqualTo(position));
    }

    private NewImageMessage Request(int width, int height, int steps) =>
        ImageRequest(settings: new JsonObject { ["width"] = width, ["height"] = height, ["steps"] = steps });

    private async Task<Message> SubmitAsync(NewImageMessage request, UserLimits limits) =>
        (await Store.SubmitAsync(request, limits, CancellationToken.None)).Message;

    private Task<Transition> RetryAsync(Message message, UserLimits limits) =>
        Store.RetryAsync(message.Id, 1, limits, CancellationToken.None);
}
