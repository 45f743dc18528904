using System.Reflection;
using Hangfire;
using Hangfire.Server;
using Hangfire.States;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using Moq;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Generation;

[Category(Categories.Store)]
internal sealed class GenerateImageJobTests
{
    private Bench? _open;
    private FaultyStore _outage = null!; // Both set before each test.

    private Bench Bench => _open!;

    [SetUp]
    public Task SetUp() => OpenAsync();

    [TearDown]
    public async Task TearDown()
    {
        if (_open is not null)
            await _open.DisposeAsync();
        _open = null;
    }

    [Test]
    public async Task Image_CompletesTheRow()
    {
        Bench.Generate((_, _) => Task.FromResult(Image(SKColors.Red)));
        var row = await Bench.QueueAsync();

        await Bench.RunAsync(row);

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Progress, now.Attempt), Is.EqualTo((MessageStatus.Complete, 100, 1)));
        Assert.That(ColourOf(now), Is.EqualTo(SKColors.Red));
    }

    /// <summary>Seen before: a thumbnail was stored as the image that was requested.</summary>
    [Test]
    public async Task Image_IsBad_WhenItsSizeIsAnother()
    {
        Bench.Generate((_, _) => Task.FromResult(Image(SKColors.Red)));
        var request = new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül", Width = 256, Height = 256 };
        var row = (await Bench.Get<SubmitImageRequest>().SubmitAsync(request, CancellationToken.None)).Message;

        Assert.ThrowsAsync<ImageRequestFailedException>(async () => await Bench.RunAsync(await Bench.FindAsync(row)));

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.ErrorCode, now.Failures), Is.EqualTo((MessageStatus.Error, ErrorCodes.BadImage, 1)));
        Assert.That(Files(), Is.Empty);
    }

    /// <summary>Hangfire's own entry is off: it would be an error with a stack, also for what a request brings about by itself.</summary>
    [Test]
    public async Task UnexpectedException_IsLoggedAsAnError_AndARequestsOwnFailureIsNot()
    {
        var retry = typeof(IImageJob).GetMethod(nameof(IImageJob.RunAsync))!.GetCustomAttribute<AutomaticRetryAttribute>()!;
        Assert.That((retry.Attempts, retry.LogEvents), Is.EqualTo((0, false)));
        Bench.Generate((_, _) => Task.FromException<ForgeImage>(new ForgeException(ForgeFailure.Rejected, "no such sampler")));
        var rejected = await Bench.QueueAsync();
        var row = await Bench.QueueAsync();

        Assert.ThrowsAsync<ImageRequestFailedException>(() => Bench.RunAsync(rejected));
        Assert.That(Bench.Log.Of(LogLevel.Error), Is.Empty);
        _outage.Fault = (method, _) => method == nameof(IMessageStore.FindAsync) ? FaultyStore.Broken() : null;
        Assert.ThrowsAsync<InvalidOperationException>(() => Bench.RunAsync(row));

        Assert.That(Bench.Log.Of(LogLevel.Error).Single(), Does.Contain($"Message {row.Id}"));
    }

    /// <summary>Megabytes of base64 take their time: the GPU does not wait for them.</summary>
    [TestCase(false, MessageStatus.Complete)]
    [TestCase(true, MessageStatus.Cancelled)]
    public async Task Forge_IsFree_WhileItsImageIsOnItsWay(bool isCancelled, string end)
    {
        var (asked, image) = (
            new TaskCompletionSource(), new TaskCompletionSource<ForgeImage>(TaskCreationOptions.RunContinuationsAsynchronously));
        Bench.Forge.Setup(
            forge =>
                forge.GenerateAsync(
                    It.IsAny<ForgeBackend>(),
                    It.IsAny<string>(),
                    It.IsAny<GenerationRequest>(),
                    It.IsAny<Func<Task>>(),
                    It.IsAny<CancellationToken>()))
            .Returns((ForgeBackend _, string _, GenerationRequest _, Func<Task> answered, CancellationToken _) =>
            {
                answered();
                asked.SetResult();
                return image.Task;
            });
        var row = await Bench.QueueAsync();
        var running = Bench.RunAsync(row);
        await asked.Task;

        Assert.That(Bench.Get<BackendPool>().Available, Is.EqualTo(1));
        if (isCancelled)
            await Bench.Get<CancelImageRequest>().CancelAsync(row.Id, CancellationToken.None);
        else
            image.SetResult(Image(SKColors.Red));
        await Task.WhenAny(running);

        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(end));
        Assert.That(
            (Bench.Get<BackendPool>().Available, Bench.Get<BackendPool>().Status.Single().Draining),
            Is.EqualTo((1, false)),
            "nothing is left there");
    }

    [Test]
    public async Task Cancel_StopsForgeAndDeletesTheJob_WhenGenerating()
    {
        var row = await GeneratingAsync();
        var running = Bench.RunAsync(row);
        await ProcessingAsync(row);

        await Bench.Get<CancelImageRequest>().CancelAsync(row.Id, CancellationToken.None);

        // The worker finds its job deleted, or is quicker and deletes it itself.
        await Task.WhenAny(running);
        Assert.That(running.Exception?.InnerException, Is.Null.Or.TypeOf<JobAbortedException>());
        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Cancelled));
        Assert.That(Bench.StateOf(row), Is.EqualTo(DeletedState.StateName));
        await InterruptedAsync(row);
        Assert.That(Files(), Is.Empty);
    }

    [Test]
    public async Task Cancel_WinsOrLoses_WhenItMeetsTheImage()
    {
        Bench.Generate(async (_, cancellationToken) =>
        {
            await Task.Delay(Random.Shared.Next(0, 12), cancellationToken);
            return Image(SKColors.Red);
        });
        var ends = new List<string>();
        for (var i = 0; i < 40; i++)
        {
            var row = await Bench.QueueAsync();
            var running = Bench.RunAsync(row);
            await Task.Delay(Random.Shared.Next(0, 25));
            var cancelled = await Bench.Get<CancelImageRequest>().CancelAsync(row.Id, CancellationToken.None);
            try
            {
                await running;
            }
            catch (JobAbortedException)
            {
                // Cancelled.
            }

            var now = await Bench.FindAsync(row);
            ends.Add(now.Status!);
            Assert.That(now.Status, Is.EqualTo(cancelled.Applied ? MessageStatus.Cancelled : MessageStatus.Complete));
            Assert.That(File.Exists(PathOf(now)), Is.EqualTo(!cancelled.Applied), "an image for a complete row, and for no other");
            Assert.That(Bench.StateOf(row), Is.EqualTo(cancelled.Applied ? DeletedState.StateName : ProcessingState.StateName));
        }

        TestContext.Out.WriteLine(string.Join(", ", ends.CountBy(end => end)));
        Assert.That(Files().Where(file => file.EndsWith(".tmp", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public async Task Row_DecidesTheJobsState_WhenItIsOverAlready()
    {
        var cancelled = await Bench.QueueAsync();
        Bench.Applied(await Bench.Store.CancelAsync(cancelled.Id, "x", CancellationToken.None));
        await Bench.RunAsync(cancelled);
        Assert.That(Bench.StateOf(cancelled), Is.EqualTo(DeletedState.StateName));

        var failed = await Bench.ClaimAsync();
        Bench.Applied(
            await Bench.Store.FailAsync(
                failed.Id, failed.Attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "why"), CancellationToken.None));
        Assert.That(Assert.ThrowsAsync<ImageRequestFailedException>(() => Bench.RunAsync(failed))!.Message, Is.EqualTo("why"));

        var complete = await Bench.ClaimAsync();
        Bench.Applied(await Bench.Store.CompleteAsync(
            complete.Id, complete.Attempt, "x", "x", null, new ImageResult(1, 1, 1, "x", TimeSpan.Zero), CancellationToken.None));
        await Bench.RunAsync(complete);
        Assert.That(Bench.StateOf(complete), Is.EqualTo(ProcessingState.StateName), "Hangfire itself makes Succeeded of it");

        Bench.Forge.Verify(
            forge =>
                forge.GenerateAsync(
                    It.IsAny<ForgeBackend>(),
                    It.IsAny<string>(),
                    It.IsAny<GenerationRequest>(),
                    It.IsAny<Func<Task>>(),
                    It.IsAny<CancellationToken>()), Times.Never);
    }

    [Test]
    public async Task OperatorsRetry_IsGenerated_WhenTheWorkerIsQuickerThanTheRow()
    {
        Bench.Generate((_, _) => Task.FromResult(Image(SKColors.Red)));
        var row = await Bench.ClaimAsync();
        Bench.Applied(
            await Bench.Store.FailAsync(
                row.Id, row.Attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None));
        Bench.SetState(row.HangfireJobId!, new FailedState(new ImageRequestFailedException("x")));
        Bench.SetState(row.HangfireJobId!, new EnqueuedState { Reason = "Triggered via Dashboard UI" });

        await Bench.RunAsync(row);

        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Complete));
        await Bench.Get<DashboardReconciler>().ReconcileAsync(CancellationToken.None);
        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Complete), "the command was carried out already");
    }

    [Test]
    public async Task Job_GoesBackToItsPlace_WhenNoForgeIsHealthy()
    {
        Bench.Forge.Setup(forge => forge.WhyUnhealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync("it does not answer");
        var row = await Bench.QueueAsync();
        await Bench.QueueAsync();

        Assert.ThrowsAsync<JobAbortedException>(() => Bench.RunAsync(row));

        Assert.That((await Bench.FindAsync(row)).Revision, Is.EqualTo(row.Revision));
        Assert.That(Bench.StateOf(row), Is.EqualTo(EnqueuedState.StateName));
        Assert.That((await Bench.Get<IQueueOrder>().GetAsync(CancellationToken.None)).PositionOf(row.HangfireJobId!), Is.EqualTo(1));
    }

    /// <summary>Seen before: three restarts while it was generated, and it ended in error.</summary>
    [Test]
    public async Task Stop_CountsAsNoFailure_HoweverOften()
    {
        await OpenAsync(new() { ["Shutdown:DrainTimeout"] = "00:00:00.050" });
        var row = await GeneratingAsync();
        for (var stop = 1; stop <= 4; stop++)
        {
            using var stopping = new CancellationTokenSource();
            var running = Bench.RunAsync(row, stopping.Token);
            await ProcessingAsync(row);
            await stopping.CancelAsync();
            Assert.CatchAsync<OperationCanceledException>(() => running);
            await Until.TrueAsync(() => Bench.Get<BackendPool>().Available == 1, "Forge is drained");
            row = await GeneratingAsync(row);
        }

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Attempt, now.Failures), Is.EqualTo((MessageStatus.Queued, 4, 0)));
    }

    /// <summary>A job can have two entries in Hangfire's queue (Hangfire #2380): the second one generates nothing.</summary>
    [Test]
    public async Task SecondEntry_LeavesTheRowAlone_WhileItsImageIsGenerated()
    {
        await OpenAsync(new() { ["Shutdown:DrainTimeout"] = "00:00:00.050" });
        var row = await GeneratingAsync();
        using var stopping = new CancellationTokenSource();
        var running = Bench.RunAsync(row, stopping.Token);
        await ProcessingAsync(row);
        var generated = CompletedGeneration();
        await Bench.ClaimAsync(await Bench.QueueAsync());

        Assert.That((await Bench.Store.ClaimAsync(row.Id, row.HangfireJobId!, null, null, CancellationToken.None)).Applied, Is.False);

        Assert.That(((await Bench.FindAsync(row)).Attempt, CompletedGeneration()), Is.EqualTo((1, generated)));
        await stopping.CancelAsync();
        Assert.CatchAsync<OperationCanceledException>(() => running);
    }

    [Test]
    public async Task Stop_LetsTheImageFinish_WithinTheDrain()
    {
        await OpenAsync(new() { ["Shutdown:DrainTimeout"] = "00:00:30" });
        using var stopping = new CancellationTokenSource();
        var finish = new TaskCompletionSource();
        Bench.Generate(async (_, _) =>
        {
            await finish.Task;
            return Image(SKColors.Red);
        });
        var row = await Bench.QueueAsync();
        var running = Bench.RunAsync(row, stopping.Token);
        await ProcessingAsync(row);

        await stopping.CancelAsync();
        finish.SetResult();
        await running;

        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Complete));
    }

    [Test]
    public async Task Stop_GivesTheRequestBack_AfterTheDrain()
    {
        await OpenAsync(new() { ["Shutdown:DrainTimeout"] = "00:00:00.050" });
        using var stopping = new CancellationTokenSource();
        var row = await GeneratingAsync();
        var running = Bench.RunAsync(row, stopping.Token);
        await ProcessingAsync(row);

        await stopping.CancelAsync();

        Assert.CatchAsync<OperationCanceledException>(() => running);
        var now = await Bench.FindAsync(row);
        Assert.That(
            (now.Status, now.QueuePosition, now.QueuedAt, now.HangfireJobId),
            Is.EqualTo((MessageStatus.Queued, 1, row.QueuedAt, row.HangfireJobId)));
        await InterruptedAsync(row);
    }

    [TestCase(true, MessageStatus.Cancelled)]
    [TestCase(false, MessageStatus.Queued)]
    public async Task TakenJob_LeavesTheRowAsTheOperatorMeansIt(bool deleted, string status)
    {
        using var taken = new CancellationTokenSource();
        var row = await GeneratingAsync();
        var running = Bench.RunAsync(row, taken.Token);
        await ProcessingAsync(row);

        Bench.SetState(row.HangfireJobId!, deleted ? new DeletedState() : new EnqueuedState("images"));
        await taken.CancelAsync();

        Assert.CatchAsync<OperationCanceledException>(() => running);
        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(status));
    }

    /// <summary>Seen before: the deleted job was put back into the queue, and its image was generated.</summary>
    [Test]
    public async Task DeletedJob_CancelsItsRequest_WhileACanaryDecides()
    {
        var canary = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Bench.Forge.Setup(forge => forge.GenerateAsync(
                It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<GenerationRequest>(), It.IsAny<Func<Task>>(),
                It.IsAny<CancellationToken>()))
            .Returns(async (ForgeBackend _, string task, GenerationRequest _, Func<Task> _, CancellationToken stop) =>
            {
                if (!Bench.IsCanary(task))
                    throw new ForgeException(ForgeFailure.Disrupted, "CUDA error");
                canary.TrySetResult();
                await Task.Delay(Timeout.Infinite, stop);
                return Image(SKColors.Red);
            });
        using var taken = new CancellationTokenSource();
        var row = await Bench.QueueAsync();
        var running = Bench.RunAsync(row, taken.Token);
        await canary.Task.WaitAsync(TimeSpan.FromSeconds(30));

        Bench.SetState(row.HangfireJobId!, new DeletedState());
        await taken.CancelAsync();

        Assert.CatchAsync<OperationCanceledException>(() => running);
        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Cancelled));
        Assert.That(Bench.StateOf(row), Is.EqualTo(DeletedState.StateName));
    }

    /// <summary>The claim waited for the database, and another process has the backend by now.</summary>
    [Test]
    public async Task Request_IsNotSent_WhenTheLeaseEndedBeforeIt()
    {
        var sent = 0;
        Bench.Generate((_, _) =>
        {
            Interlocked.Increment(ref sent);
            return Task.FromResult(Image(SKColors.Red));
        });
        _outage.After(nameof(IMessageStore.ClaimAsync), () =>
        {
            Bench.Get<BackendPool>().All.Single().LeasedUntil = null;
            return Task.CompletedTask;
        });
        var row = await Bench.QueueAsync();

        Assert.ThrowsAsync<JobAbortedException>(() => Bench.RunAsync(row));

        var now = await Bench.FindAsync(row);
        Assert.That((sent, now.Status, now.Failures, now.Disruptions), Is.EqualTo((0, MessageStatus.Queued, 0, 0)));
        Assert.That(Bench.StateOf(row), Is.EqualTo(EnqueuedState.StateName));
    }

    /// <summary>Seen before: the job failed, and the sweep ended its request in error.</summary>
    [Test]
    public async Task Job_IsGivenBack_OnceHangfiresStorageAnswersAgain()
    {
        Bench.Forge.Setup(forge => forge.WhyUnhealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync("it does not answer");
        var row = await Bench.QueueAsync();
        var faults = 2;
        Bench.OrderFault = method => method == nameof(IQueueOrder.TryGiveBack) && faults-- > 0
            ? new InvalidOperationException("The connection to Hangfire's storage is lost.")
            : null;

        Assert.ThrowsAsync<JobAbortedException>(() => Bench.RunAsync(row));

        Assert.That((await Bench.Get<IQueueOrder>().GetAsync(CancellationToken.None)).PositionOf(row.HangfireJobId!), Is.EqualTo(1));
        var warnings = Bench.Log.Of(LogLevel.Warning).Where(line => line.Contains("cannot be given back", StringComparison.Ordinal));
        Assert.That(warnings.Count(), Is.EqualTo(1), "once for each outage");
    }

    [Test]
    public async Task LoserOfAFence_ReplacesNothing_WhenItsImageComesLate()
    {
        var late = new TaskCompletionSource<ForgeImage>();
        Bench.Generate((task, _) => task.EndsWith("-1", StringComparison.Ordinal) ? late.Task : Task.FromResult(Image(SKColors.Lime)));
        var row = await Bench.QueueAsync();
        var first = Bench.RunAsync(row);
        await ProcessingAsync(row);

        await OtherServerAsync(row);
        var won = await Bench.FindAsync(row);
        late.SetResult(Image(SKColors.Red));
        await first;

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Attempt, now.Revision), Is.EqualTo((MessageStatus.Complete, 2, won.Revision)));
        Assert.That(ColourOf(now), Is.EqualTo(SKColors.Lime));
        Assert.That(Files(), Has.Length.EqualTo(2), "the image and its thumbnail");
    }

    [Test]
    public async Task Image_IsKept_WhenTheDatabaseIsAwayAtTheEnd()
    {
        Bench.Generate((_, _) => Task.FromResult(Image(SKColors.Red)));
        _outage.Lose(nameof(IMessageStore.CompleteAsync), 1);
        _outage.Refuse(nameof(IMessageStore.CompleteAsync), 1);
        var row = await Bench.QueueAsync();

        await Bench.RunAsync(row);

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Attempt), Is.EqualTo((MessageStatus.Complete, 1)));
        Assert.That(ColourOf(now), Is.EqualTo(SKColors.Red));
    }

    [Test]
    public async Task Claim_WaitsForTheDatabase_WhenItIsAway()
    {
        Bench.Generate((_, _) => Task.FromResult(Image(SKColors.Red)));
        _outage.Refuse(nameof(IMessageStore.ClaimAsync), 2);
        var row = await Bench.QueueAsync();

        await Bench.RunAsync(row);

        Assert.That((await Bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Complete));
    }

    [Test]
    public async Task Request_EndsInError_WhenItsWorkersKeepDying()
    {
        var row = await Bench.QueueAsync();
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            row = await Bench.ClaimAsync(row);
            row = Bench.Applied(await Bench.Store.RequeueAsync(row.Id, row.Attempt, AttemptCharge.Failure, CancellationToken.None));
        }

        var failure = Assert.ThrowsAsync<ImageRequestFailedException>(() => Bench.RunAsync(row));

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Error), Is.EqualTo((MessageStatus.Error, Bench.Get<MessageTexts>().Abandoned(3))));
        Assert.That(failure!.Message, Is.EqualTo(now.Error));
        Bench.Forge.Verify(
            forge =>
                forge.GenerateAsync(
                    It.IsAny<ForgeBackend>(),
                    It.IsAny<string>(),
                    It.IsAny<GenerationRequest>(),
                    It.IsAny<Func<Task>>(),
                    It.IsAny<CancellationToken>()), Times.Never);
    }

    [Test]
    public async Task RequestThatDisruptedTwice_WaitsBehindAllOthers_AfterARestartToo()
    {
        using var folder = new TemporaryFolder();
        await OpenAsync(folder: folder);
        Bench.Generate((_, _) => Task.FromException<ForgeImage>(new ForgeException(ForgeFailure.Disrupted, "CUDA error")));
        var poison = await Bench.ClaimAsync();
        await Bench.Store.RequeueAsync(poison.Id, poison.Attempt, AttemptCharge.Disruption, CancellationToken.None);
        var other = await Bench.QueueAsync();
        Assert.ThrowsAsync<JobAbortedException>(() => Bench.RunAsync(poison));
        Assert.That((await Bench.FindAsync(poison)).Disruptions, Is.EqualTo(2));

        await OpenAsync(folder: folder);
        await Bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);

        Assert.That(Bench.Enqueued(), Is.EqualTo(new[] { other.Id, poison.Id }));
    }

    /// <summary>Seen before: at the tail it counted as a user of its own, and so as its user's second turn.</summary>
    [Test]
    public async Task RequestThatDisruptedTwice_StaysItsUsers_InFairShare()
    {
        await OpenAsync(new() { ["Queue:Order"] = "FairShare" });
        Bench.Generate((_, _) => Task.FromException<ForgeImage>(new ForgeException(ForgeFailure.Disrupted, "CUDA error")));
        var poison = await Bench.ClaimAsync();
        await Bench.Store.RequeueAsync(poison.Id, poison.Attempt, AttemptCharge.Disruption, CancellationToken.None);

        Assert.ThrowsAsync<JobAbortedException>(() => Bench.RunAsync(poison));

        using var connection = Bench.Get<JobStorage>().GetConnection();
        var job = (await Bench.FindAsync(poison)).HangfireJobId!;
        Assert.That(job, Is.Not.EqualTo(poison.HangfireJobId));
        Assert.That(ImageJobs.ReadUser(connection.GetJobParameter(job, ImageJobs.UserParameter)), Is.EqualTo(ImageJobs.KeyOf("ayşe")));
    }

    [Test]
    public async Task Stall_EndsInError_AndForgeIsInterrupted()
    {
        await OpenAsync(new() { ["Forge:StallTimeout"] = "00:00:01" });
        var row = await GeneratingAsync();

        Assert.ThrowsAsync<ImageRequestFailedException>(() => Bench.RunAsync(row));

        var now = await Bench.FindAsync(row);
        Assert.That((now.Status, now.Error), Is.EqualTo((MessageStatus.Error, "Forge 1 s boyunca ilerlemedi. Lütfen tekrar deneyin.")));
        await InterruptedAsync(row);
    }

    private async Task OpenAsync(Dictionary<string, string?>? settings = null, TemporaryFolder? folder = null)
    {
        await TearDown();
        _open = await Bench.CreateAsync(settings: settings, wrap: store => (_outage = FaultyStore.Around(store)).Store, folder: folder);
    }

    /// <summary>A queued row whose generating ends only when it is left; Forge calls it active until it is interrupted.</summary>
    private async Task<Message> GeneratingAsync(Message? row = null)
    {
        var interrupted = false;
        Bench.Forge.Setup(
            forge => forge.GetProgressAsync(It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<bool>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(() => new ForgeProgress(interrupted ? ForgeTaskState.Completed : ForgeTaskState.Active, 0.4));
        Bench.Forge.Setup(forge => forge.InterruptAsync(It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(() => interrupted = true);

        Bench.Generate(async (_, cancellationToken) =>
        {
            await Task.Delay(Timeout.Infinite, cancellationToken);
            return Image(SKColors.Red);
        });
        return row ?? await Bench.QueueAsync();
    }

    private Task ProcessingAsync(Message row) =>
        Until.TrueAsync(
            async () => (await Bench.FindAsync(row)).Status == MessageStatus.Processing && CompletedGeneration() > 0, "it is processing");

    /// <summary>The pool asks, and interrupts, while it drains what was left.</summary>
    private Task InterruptedAsync(Message row) => Until.TrueAsync(
        () =>
            Bench.Forge.Invocations.Count(call => call.Method.Name == nameof(IForgeClient.InterruptAsync)
                && Equals(call.Arguments[1], $"{row.JobId}-1")) == 1,
        "what goes on at Forge is interrupted, once");

    private int CompletedGeneration() => Bench.Forge.Invocations.Count(call => call.Method.Name == nameof(IForgeClient.GenerateAsync));

    /// <summary>The same Hangfire job on another machine, which has a Forge of its own.</summary>
    private async Task OtherServerAsync(Message row)
    {
        var stale = await Bench.FindAsync(row);
        Bench.Applied(await Bench.Store.RequeueAsync(row.Id, stale.Attempt, AttemptCharge.None, CancellationToken.None));
        var claimed = Bench.Applied(await Bench.Store.ClaimAsync(row.Id, row.HangfireJobId!, null, null, CancellationToken.None));
        using var prepared = Bench.Get<ImageFiles>().Prepare(claimed.JobId!, claimed.Attempt, Image(SKColors.Lime).Bytes);
        Bench.Applied(await Bench.Store.CompleteAsync(
            claimed.Id, claimed.Attempt, "x", "x", null, new ImageResult(1, 8, 8, "x", TimeSpan.Zero), CancellationToken.None));
        prepared.Publish();
    }

    private string[] Files() =>
        Directory.Exists(Bench.ImagesFolder) ? [.. Directory.GetFiles(Bench.ImagesFolder).Select(path => Path.GetFileName(path))] : [];

    private string PathOf(Message message) => Path.Combine(Bench.ImagesFolder, $"flux_{message.JobId}.png");

    private SKColor ColourOf(Message message)
    {
        using var bitmap = SKBitmap.Decode(PathOf(message));
        return bitmap.GetPixel(4, 4);
    }

    private static ForgeImage Image(SKColor colour)
    {
        using var bitmap = new SKBitmap(8, 8);
        bitmap.Erase(colour);
        using var png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        return new ForgeImage(png.ToArray(), new ForgeImageInfo(1, "flux"));
    }
}
