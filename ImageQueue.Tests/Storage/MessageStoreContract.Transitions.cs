using ImageQueue.Tests.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

public abstract partial class MessageStoreContract
{
    private const int StoredAttempt = 1;

    private static readonly string[] States =
        [
            PlainMessage,
            MessageStatus.Queued,
            MessageStatus.Processing,
            MessageStatus.Complete,
            MessageStatus.Error,
            MessageStatus.Cancelled];

    /// <summary>Every verb, and the states from which it is allowed.</summary>
    private static readonly (string Name, Func<IMessageStore, long, Task<Transition>> Run, string[] From)[] Verbs =
    [
        ("attach", (store, id) => store.AttachJobAsync(id, "hf-2", HangfireJob, CancellationToken.None), [MessageStatus.Queued]),
        (
            "claim by the same job",
            (store, id) => store.ClaimAsync(id, HangfireJob, null, null, CancellationToken.None),
            [MessageStatus.Queued]),
        ("claim by another job", (store, id) => store.ClaimAsync(id, "hf-2", null, null, CancellationToken.None), [MessageStatus.Queued]),
        (
            "save progress",
            (store, id) => store.SaveProgressAsync(id, StoredAttempt, 40, CancellationToken.None),
            [MessageStatus.Processing]),
        (
            "save preview",
            (store, id) => store.SavePreviewAsync(id, StoredAttempt, "/images/p.jpg", CancellationToken.None),
            [MessageStatus.Processing]),
        (
            "complete",
            (store, id) => store.CompleteAsync(id, StoredAttempt, "c", "/u", null, AnyResult, CancellationToken.None),
            [MessageStatus.Processing]),
        (
            "fail",
            (store, id) =>
                store.FailAsync(id, StoredAttempt, "c", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None),
            [MessageStatus.Processing]),
        (
            "fail queued",
            (store, id) => store.FailQueuedAsync(id, "c", new RequestFailure(ErrorCodes.NoBackend, "x"), CancellationToken.None),
            [MessageStatus.Queued]),
        ("cancel", (store, id) => store.CancelAsync(id, "c", CancellationToken.None), [MessageStatus.Queued, MessageStatus.Processing]),
        (
            "retry",
            (store, id) => store.RetryAsync(id, 7, UserLimits.None, CancellationToken.None),
            [MessageStatus.Error, MessageStatus.Cancelled]),
        (
            "requeue",
            (store, id) => store.RequeueAsync(id, StoredAttempt, AttemptCharge.None, CancellationToken.None),
            [MessageStatus.Processing]),
    ];

    private static ImageResult AnyResult => new(1, 64, 64, "m", TimeSpan.FromSeconds(1));

    private static IEnumerable<TestCaseData> VerbsAndStates =>
        from verb in Verbs
        from state in States
        select new TestCaseData(verb.Name, state, verb.From.Contains(state)).SetArgDisplayNames(verb.Name, state);

    private static IEnumerable<string> VerbNames => Verbs.Select(verb => verb.Name);

    /// <summary>The whole table of transitions.</summary>
    [TestCaseSource(nameof(VerbsAndStates))]
    public async Task Transition_IsAppliedOrRefused_AsTheStateAllows(string verb, string state, bool allowed)
    {
        var before = await InStateAsync(state);
        var signal = Signal.Next;
        Time.Advance(TimeSpan.FromSeconds(5));

        var transition = await Run(verb, before.Id);

        Assert.That(transition.Applied, Is.EqualTo(allowed));
        Assert.That(signal.IsCompleted, Is.EqualTo(allowed), "a write raises the signal, a refusal does not");
        AssertSame(await ReadAsync(before.Id), transition.Message!);
        if (allowed)
        {
            Assert.That(
                (transition.Message!.Revision > before.Revision, transition.Message.UpdatedAt), Is.EqualTo((true, Time.GetUtcNow())));
        }
        else
        {
            AssertSame(transition.Message, before);
        }
    }

    /// <summary>Not found is no row, and no exception.</summary>
    [TestCaseSource(nameof(VerbNames))]
    public async Task Transition_HasNoMessage_WhenThereIsNone(string verb)
    {
        var signal = Signal.Next;

        Assert.That(await Run(verb, 987_654_321), Is.EqualTo(new Transition(false, null)));
        Assert.That(signal.IsCompleted, Is.False);
    }

    /// <summary>One transition touches one row.</summary>
    [TestCaseSource(nameof(VerbNames))]
    public async Task Transition_LeavesOtherRowsAlone_WhenApplied(string verb)
    {
        var state = Verbs.Single(v => v.Name == verb).From[0];
        var (one, other) = (await InStateAsync(state), await InStateAsync(state));

        Applied(await Run(verb, one.Id));

        AssertSame(await ReadAsync(other.Id), other);
    }

    /// <summary>The queue's job is stored with the place it got.</summary>
    [Test]
    public async Task AttachJob_StoresTheJob_AndLeavesTheMetadata()
    {
        var before = await SubmitAsync();

        await CheckAsync(
            before,
            () => Store.AttachJobAsync(before.Id, "hf-9", null, CancellationToken.None),
            "{}",
            row => row with { HangfireJobId = "hf-9" });
    }

    /// <summary>Of two repairers only the first wins: the other's job is to be thrown away.</summary>
    [TestCase(null, null, true)]
    [TestCase(null, "hf-1", false)]
    [TestCase("hf-1", null, false)]
    [TestCase("hf-1", "hf-1", true)]
    [TestCase("hf-1", "HF-1", false)]
    public async Task AttachJob_IsRefused_WhenTheStoredJobIsAnother(string? stored, string? replaces, bool applied)
    {
        var message = await SubmitAsync();
        if (stored is not null)
            Applied(await Store.AttachJobAsync(message.Id, stored, null, CancellationToken.None));

        var transition = await Store.AttachJobAsync(message.Id, "hf-new", replaces, CancellationToken.None);

        Assert.That((transition.Applied, transition.Message!.HangfireJobId), Is.EqualTo((applied, applied ? "hf-new" : stored)));
    }

    /// <summary>The first claim.</summary>
    [Test]
    public async Task Claim_StartsAttemptOne_WhenQueued()
    {
        var before = await SubmitAsync();

        await CheckAsync(
            before,
            () => Store.ClaimAsync(before.Id, "hf-9", null, null, CancellationToken.None),
            """{"status":"processing","progress":0,"queue_position":0}""",
            row => row with { HangfireJobId = "hf-9", Attempt = 1, HeartbeatAt = row.UpdatedAt });
    }

    /// <summary>Hangfire runs the same job again when its worker died.</summary>
    [Test]
    public async Task Claim_RaisesTheAttempt_WhenTheSameJobRunsAgain()
    {
        var before = await InStateAsync(MessageStatus.Processing);
        before = await SilentAsync(Applied(await Store.SaveProgressAsync(before.Id, 1, 60, CancellationToken.None)));

        await CheckAsync(
            before,
            () => Store.ClaimAsync(before.Id, HangfireJob, null, null, CancellationToken.None),
            """{"progress":0}""",
            row => row with { Attempt = 2, HeartbeatAt = row.UpdatedAt });
    }

    /// <summary>A job that has two entries in Hangfire's queue is run twice, and generated once: its worker is heard of.</summary>
    [Test]
    public async Task Claim_IsRefused_WhenTheSameJobRunsBesideItself()
    {
        var message = await SilentAsync(await InStateAsync(MessageStatus.Processing));
        message = Applied(await Store.SaveProgressAsync(message.Id, 1, 60, CancellationToken.None));

        var second = await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None);

        Assert.That((second.Applied, second.Message!.Revision), Is.EqualTo((false, message.Revision)));
        await SilentAsync(message);
        Assert.That(
            (await Store.ClaimAsync(message.Id, "hf-2", null, null, CancellationToken.None)).Applied, Is.False, "another job's never");
        Assert.That((await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None)).Applied, Is.True);
    }

    /// <summary>One row, one winner.</summary>
    [Test]
    public async Task Claim_HasOneWinner_WhenManyWorkersClaimAtOnce()
    {
        var message = await SubmitAsync();

        var claims = await Task.WhenAll(
            Enumerable.Range(0, 16).Select(
                i => Task.Run(() => Store.ClaimAsync(message.Id, $"hf-{i}", null, null, CancellationToken.None))));

        Assert.That(claims.Count(claim => claim.Applied), Is.EqualTo(1));
        Assert.That(claims.Select(claim => claim.Message!.Attempt), Is.All.EqualTo(1));
    }

    /// <summary>Progress and heartbeat, and nothing else.</summary>
    [Test]
    public async Task SaveProgress_StoresProgressAndHeartbeat_WhenProcessing()
    {
        var before = await InStateAsync(MessageStatus.Processing);

        await CheckAsync(
            before,
            () => Store.SaveProgressAsync(before.Id, 1, 40, CancellationToken.None),
            """{"progress":40}""",
            row => row with { HeartbeatAt = row.UpdatedAt });
    }

    /// <summary>Where the image can be seen while it is generated, and that the worker is alive.</summary>
    [Test]
    public async Task SavePreview_StoresUrlAndHeartbeat_WhenProcessing()
    {
        var before = await InStateAsync(MessageStatus.Processing);

        await CheckAsync(
            before,
            () => Store.SavePreviewAsync(before.Id, 1, "/images/flux_1.preview.jpg", CancellationToken.None),
            """{"preview_url":"/images/flux_1.preview.jpg"}""",
            row => row with { HeartbeatAt = row.UpdatedAt });
    }

    /// <summary>A preview belongs to the attempt that made it, however that ends.</summary>
    [TestCase("claim by the same job")]
    [TestCase("complete")]
    [TestCase("fail")]
    [TestCase("cancel")]
    [TestCase("requeue")]
    public async Task Preview_IsForgotten_WhenTheAttemptEnds(string verb)
    {
        var message = await InStateAsync(MessageStatus.Processing);
        message = Applied(await Store.SavePreviewAsync(message.Id, 1, "/images/flux_1.preview.jpg", CancellationToken.None));
        Assert.That(message.PreviewUrl, Is.EqualTo("/images/flux_1.preview.jpg"));
        await SilentAsync(message);

        Assert.That(Applied(await Run(verb, message.Id)).Metadata.TryGetProperty("preview_url", out _), Is.False);
    }

    /// <summary>The same progress again is a heartbeat; less is refused.</summary>
    [TestCase(39, false)]
    [TestCase(40, true)]
    [TestCase(41, true)]
    public async Task SaveProgress_NeverFalls_WithinAnAttempt(int next, bool applied)
    {
        var message = await InStateAsync(MessageStatus.Processing);
        Applied(await Store.SaveProgressAsync(message.Id, 1, 40, CancellationToken.None));

        var transition = await Store.SaveProgressAsync(message.Id, 1, next, CancellationToken.None);

        Assert.That((transition.Applied, transition.Message!.Progress), Is.EqualTo((applied, Math.Max(40, next))));
    }

    /// <summary>A write by hand must not make a worker believe that it has lost its row.</summary>
    [TestCase("""{"progress":null}""")]
    [TestCase("""{"progress":"much"}""")]
    [TestCase("""{"progress":{"percent":99}}""")]
    public async Task SaveProgress_IsApplied_WhenTheStoredProgressIsNoNumber(string patch)
    {
        var message = await InStateAsync(MessageStatus.Processing);
        await Store.UpdateMessageAsync(message.Id, null, MetadataPatch.Parse(patch), CancellationToken.None);

        Assert.That(Applied(await Store.SaveProgressAsync(message.Id, 1, 5, CancellationToken.None)).Progress, Is.EqualTo(5));
    }

    /// <summary>100 is said by completion alone.</summary>
    [TestCase(-1)]
    [TestCase(100)]
    public async Task SaveProgress_Throws_WhenOutOfRange(int progress)
    {
        var message = await InStateAsync(MessageStatus.Processing);

        Assert.That(
            () => Store.SaveProgressAsync(message.Id, 1, progress, CancellationToken.None),
            Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    /// <summary>A finished image.</summary>
    [Test]
    public async Task Complete_StoresUrlResultAndContent_WhenProcessing()
    {
        var before = await InStateAsync(MessageStatus.Processing);

        await CheckAsync(
            before,
            () => CompleteAsync(before),
            """
            {"status":"complete","progress":100,"queue_position":0,"image_url":"/images/flux_1.png",
                "thumbnail_url":"/images/flux_1.thumb.webp",
             "result":{"seed":4294967295,"width":1024,"height":768,"model":"flux1-dev","duration_seconds":12.345}}
            """,
            row => row with { Content = "[IMAGE] Resminiz hazır.", FinishedAt = row.UpdatedAt });
    }

    /// <summary>Forge does not always say.</summary>
    [Test]
    public async Task Complete_LeavesOutSeedAndModel_WhenForgeDoesNotSay()
    {
        var message = await InStateAsync(MessageStatus.Processing);

        var done = Applied(
            await Store.CompleteAsync(
                message.Id, 1, "c", "/u", null, new ImageResult(null, 64, 32, null, TimeSpan.Zero), CancellationToken.None));

        Assert.That(
            JsonStructure.Difference("""{"width":64,"height":32,"duration_seconds":0}""", done.Metadata.GetProperty("result").GetRawText()),
            Is.Null);
    }

    /// <summary>Why there is no image.</summary>
    [Test]
    public async Task Fail_StoresErrorAndContent_WhenProcessing()
    {
        var before = await InStateAsync(MessageStatus.Processing);
        before = Applied(await Store.SaveProgressAsync(before.Id, 1, 60, CancellationToken.None));

        await CheckAsync(
            before,
            () =>
                Store.FailAsync(
                    before.Id,
                    1,
                    "❌ Görsel oluşturulamadı: Forge \"x\"",
                    new RequestFailure(ErrorCodes.BackendFailed, "Forge \"x\""),
                    CancellationToken.None),
            """{"status":"error","progress":0,"queue_position":0,"error":"Forge \"x\"","error_code":"backend_failed"}""",
            row => row with { Content = "❌ Görsel oluşturulamadı: Forge \"x\"", FinishedAt = row.UpdatedAt });
    }

    [Test]
    public async Task Cancel_StoresContent_WhenProcessing()
    {
        var before = await InStateAsync(MessageStatus.Processing);
        before = Applied(await Store.SaveProgressAsync(before.Id, 1, 60, CancellationToken.None));

        await CheckAsync(
            before,
            () => Store.CancelAsync(before.Id, "İptal edildi.", CancellationToken.None),
            """{"status":"cancelled","progress":0,"queue_position":0}""",
            row => row with { Content = "İptal edildi.", FinishedAt = row.UpdatedAt });
    }

    /// <summary>A new place in the queue, and nothing left of the first try.</summary>
    [Test]
    public async Task Retry_StartsANewRound_WhenInError()
    {
        var before = await InStateAsync(MessageStatus.Error);

        await CheckAsync(
            before,
            () => Store.RetryAsync(before.Id, 9, UserLimits.None, CancellationToken.None),
            """{"status":"queued","progress":0,"queue_position":9,"error":null,"error_code":null}""",
            row => row with
            {
                Content = "[IMAGE_PENDING]",
                HangfireJobId = null,
                HeartbeatAt = null,
                QueuedAt = row.UpdatedAt,
                FinishedAt = null,
            });
    }

    [Test]
    public async Task FailQueued_WritesTheError_WhenTheRequestIsQueued()
    {
        var before = await InStateAsync(MessageStatus.Queued);

        await CheckAsync(
            before,
            () =>
                Store.FailQueuedAsync(
                    before.Id, "❌ Görsel oluşturulamadı: x", new RequestFailure(ErrorCodes.NoBackend, "x"), CancellationToken.None),
            """{"status":"error","progress":0,"queue_position":0,"error":"x","error_code":"no_backend"}""",
            row => row with { Content = "❌ Görsel oluşturulamadı: x", FinishedAt = row.UpdatedAt });
    }

    /// <summary>A caller that read the row before the user retried it must not end the retry.</summary>
    [Test]
    public async Task FailQueued_IsRefused_WhenTheRequestHasAnotherJobThanTheCallerSaw()
    {
        var row = await InStateAsync(MessageStatus.Queued);
        var bare = await SubmitAsync();
        Task<Transition> FailAsync(long id, string? job) => Store.FailQueuedAsync(
            id, job, "c", new RequestFailure(ErrorCodes.NoBackend, "x"), CancellationToken.None);

        Assert.That((await FailAsync(row.Id, null)).Applied, Is.False);
        Assert.That((await FailAsync(row.Id, "hf-0")).Applied, Is.False);
        Assert.That((await FailAsync(bare.Id, HangfireJob)).Applied, Is.False);
        AssertSame(await ReadAsync(row.Id), row);
        AssertSame(await ReadAsync(bare.Id), bare);

        Assert.That(Applied(await FailAsync(row.Id, HangfireJob)).Status, Is.EqualTo(MessageStatus.Error));
        Assert.That(Applied(await FailAsync(bare.Id, null)).Status, Is.EqualTo(MessageStatus.Error));
    }

    /// <summary>The attempt only ever rises; a person's retry resets both counters.</summary>
    [Test]
    public async Task Retry_ResetsFailuresAndDisruptions_AndKeepsTheAttempt()
    {
        var message = await InStateAsync(MessageStatus.Processing);
        var counts = new List<(int Attempt, int Failures, int Disruptions)>();
        for (var round = 0; round < 2; round++)
        {
            message = Applied(await Store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.Failure, CancellationToken.None));
            message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, "gpu1", null, CancellationToken.None));
            message = Applied(await Store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.Disruption, CancellationToken.None));
            message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, "gpu1", null, CancellationToken.None));
            counts.Add((message.Attempt, message.Failures, message.Disruptions));
            message = Applied(
                await Store.FailAsync(
                    message.Id, message.Attempt, "c", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None));
            message = Applied(await Store.RetryAsync(message.Id, 1, UserLimits.None, CancellationToken.None));
            Assert.That((message.Failures, message.Disruptions, message.Backend), Is.EqualTo((0, 0, "gpu1")));
            message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        }

        Assert.That(counts, Is.EqualTo(new[] { (3, 1, 1), (6, 1, 1) }));
    }

    /// <summary>A graceful stop or an outage is charged as neither.</summary>
    [Test]
    public async Task Requeue_CountsFailuresAndDisruptionsApart_AsTheyAreCharged()
    {
        var message = await InStateAsync(MessageStatus.Processing);
        foreach (var charge in new[] { AttemptCharge.None, AttemptCharge.Failure, AttemptCharge.Disruption, AttemptCharge.Failure })
        {
            message = Applied(await Store.RequeueAsync(message.Id, message.Attempt, charge, CancellationToken.None));
            message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        }

        Assert.That((message.Attempt, message.Failures, message.Disruptions), Is.EqualTo((5, 2, 1)));
        AssertSame(await ReadAsync(message.Id), message);
    }

    /// <summary>The request waits again, at the place that its first queueing gives it.</summary>
    [Test]
    public async Task Requeue_KeepsItsTurn_WhenTheWorkerIsDead()
    {
        var before = await InStateAsync(MessageStatus.Processing);
        before = Applied(await Store.SaveProgressAsync(before.Id, 1, 60, CancellationToken.None));

        await CheckAsync(
            before,
            () => Store.RequeueAsync(before.Id, 1, AttemptCharge.None, CancellationToken.None),
            """{"status":"queued","progress":0,"queue_position":1}""",
            row => row with { HeartbeatAt = null });
    }

    /// <summary>Its queued_at is its place where a restart rebuilds the queue from the rows.</summary>
    [Test]
    public async Task Requeue_GoesBehindAllOthers_WhenItIsAtTheTail()
    {
        var before = await InStateAsync(MessageStatus.Processing);
        var other = await SubmitAsync();

        await CheckAsync(
            before,
            () => Store.RequeueAsync(before.Id, 1, AttemptCharge.Disruption, CancellationToken.None, isAtTail: true),
            """{"status":"queued","progress":0,"queue_position":1}""",
            row => row with { HeartbeatAt = null, QueuedAt = Time.GetUtcNow() });

        var waiting = await Store.ListWaitingAsync(null, 10, CancellationToken.None);
        Assert.That(waiting.Select(row => row.Id), Is.EqualTo(new[] { other.Id, before.Id }));
    }

    /// <summary>A worker that was given up for dead can write nothing more.</summary>
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(3)]
    public async Task Attempt_FencesEveryWrite_WhenItIsNotTheCurrentOne(int attempt)
    {
        var message = await SilentAsync(await InStateAsync(MessageStatus.Processing));
        message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        Assert.That(message.Attempt, Is.EqualTo(2));

        var id = message.Id;
        Transition[] refused =
        [
            await Store.SaveProgressAsync(id, attempt, 99, CancellationToken.None),
            await Store.SavePreviewAsync(id, attempt, "/u", CancellationToken.None),
            await Store.CompleteAsync(id, attempt, "c", "/u", null, AnyResult, CancellationToken.None),
            await Store.FailAsync(id, attempt, "c", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None),
            await Store.RequeueAsync(id, attempt, AttemptCharge.None, CancellationToken.None),
        ];

        Assert.That(refused.Select(transition => transition.Applied), Is.All.False);
        AssertSame(await ReadAsync(id), message);
    }

    /// <summary>A cancel and a completion at the same moment: one of them happens, whole.</summary>
    [Test]
    public async Task Transitions_HaveOneWinner_WhenTheyMeet()
    {
        for (var i = 0; i < 10; i++)
        {
            var message = await InStateAsync(MessageStatus.Processing);
            var cancelling = Task.Run(() => Store.CancelAsync(message.Id, "c", CancellationToken.None));
            var completing = Task.Run(() => CompleteAsync(message));

            var both = await Task.WhenAll(cancelling, completing);

            Assert.That(both.Count(transition => transition.Applied), Is.EqualTo(1));
            Assert.That(
                (await ReadAsync(message.Id))!.Status, Is.EqualTo(both[0].Applied ? MessageStatus.Cancelled : MessageStatus.Complete));
        }
    }

    private Task<Transition> Run(string verb, long id) => Verbs.Single(v => v.Name == verb).Run(Store, id);

    /// <summary>The whole row is as the patch and the change say, in the answer and for another process.</summary>
    private async Task CheckAsync(Message before, Func<Task<Transition>> transition, string patch, Func<Message, Message> change)
    {
        Time.Advance(TimeSpan.FromSeconds(5));

        var after = Applied(await transition());

        Assert.That(after.Revision, Is.GreaterThan(before.Revision));
        var expected = change(before with
        {
            UpdatedAt = Time.GetUtcNow(),
            Revision = after.Revision,
            ExtraMetadata = ReferenceMerge.Merge(before.ExtraMetadata, patch),
        });
        AssertSame(after, expected);
        AssertSame(await ReadAsync(before.Id), expected);
    }
}
