using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Generation;

/// <summary>Live previews: what Forge shows while it generates is kept, named, and gone with the attempt.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class ProgressPumpTests
{
    private const string JobId = "0123456789abcdef0123456789abcdef";

    private static readonly ForgeBackend Server = new("forge", new Uri("http://127.0.0.1:1"));

    private readonly byte[] _image = SceneRenderer.Draw("a cat", 1, 64, 64, 1, SKEncodedImageFormat.Png);
    private TemporaryFolder _folder = null!;
    private LogRecorder _log = null!;
    private Mock<IForgeClient> _forge = null!;
    private Mock<IMessageStore> _store = null!;
    private ImageFiles _images = null!;

    [SetUp]
    public void Prepare()
    {
        _folder = new TemporaryFolder();
        _log = new LogRecorder();
        _forge = new Mock<IForgeClient>(MockBehavior.Strict);
        _store = new Mock<IMessageStore>(MockBehavior.Strict);
        _store.Setup(
            store =>
                store.SaveProgressAsync(7, 1, It.IsAny<int>(), It.IsAny<CancellationToken>())).ReturnsAsync(new Transition(true, null));
        _store.Setup(
            store =>
                store.SavePreviewAsync(
                    7, 1, $"/images/flux_{JobId}.preview.jpg", It.IsAny<CancellationToken>())).ReturnsAsync(new Transition(true, null));
        _images = Images(Path.Combine(_folder.Path, "images"));
    }

    [TearDown]
    public void Remove()
    {
        _folder.Dispose();
        _log.Dispose();
    }

    [Test]
    public async Task Preview_IsThereWhileGenerating_AndGoneAfterwards()
    {
        Answer(_ => _image);
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions(), stop.Token);
        await Until.TrueAsync(() => _images.ReadPreview(JobId) is not null && Named() == 1);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(_images.ReadPreview(JobId), Is.Null);
        Assert.That(_log.Of(LogLevel.Information), Is.Empty);
    }

    [Test]
    public async Task Preview_IsAskedForGently_WhenThereIsOne()
    {
        var asked = 0;
        Answer(withPreview =>
        {
            asked += withPreview ? 1 : 0;
            return withPreview && asked >= 3 ? _image : null;
        });
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions(), stop.Token);
        await Until.TrueAsync(() => Named() == 1);
        await Task.Delay(300);
        Assert.That(asked, Is.EqualTo(3), "each time until there is one, then once a second");
        await Until.TrueAsync(() => asked == 4);
        await Until.TrueAsync(() => Saved() >= 1);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Named(), Is.EqualTo(1));
    }

    [Test]
    public async Task Preview_IsNeverAskedFor_WhenSwitchedOff()
    {
        var asked = new List<bool>();
        Answer(withPreview =>
        {
            asked.Add(withPreview);
            return null;
        });
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions { LivePreview = false }, stop.Token);
        await Until.TrueAsync(() => asked.Count > 5);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(asked, Is.All.False);
    }

    [Test]
    public async Task Preview_HarmsNothing_WhenItIsNoImage()
    {
        Answer(_ => "<html>"u8.ToArray());
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions(), stop.Token);
        await Until.TrueAsync(() => Saved() >= 2);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
        Assert.That((Named(), _images.ReadPreview(JobId)), Is.EqualTo((0, (byte[]?)null)));
    }

    [Test]
    public async Task Preview_IsLeftOut_WhenItCannotBeWritten()
    {
        var file = Path.Combine(_folder.Path, "a file");
        await File.WriteAllTextAsync(file, "where the folder should be");
        _images = Images(file);
        var asked = 0;
        Answer(withPreview =>
        {
            asked += withPreview ? 1 : 0;
            return withPreview ? _image : null;
        });
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions(), stop.Token);
        await Until.TrueAsync(() => _log.Of(LogLevel.Warning).Any());
        await Task.Delay(1200);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
        Assert.That((asked, Named()), Is.EqualTo((3, 0)));
        Assert.That(Saved(), Is.Positive, "progress goes on");
        Assert.That(_log.Of(LogLevel.Warning), Has.Exactly(1).Items);
    }

    [Test]
    public async Task Run_EndsAndRemovesThePreview_WhenTheRowIsLost()
    {
        Answer(_ => _image);
        _store.Setup(
            store =>
                store.SavePreviewAsync(7, 1, It.IsAny<string>(), It.IsAny<CancellationToken>())).ReturnsAsync(new Transition(false, null));

        Assert.That(
            await RunAsync(new ForgeOptions(), CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30)),
            Is.EqualTo(new AttemptOutcome(AttemptResult.Superseded)));
        Assert.That(_images.ReadPreview(JobId), Is.Null);
    }

    [Test]
    public async Task Preview_IsNamedLater_WhenTheDatabaseWasAway()
    {
        Answer(_ => _image);
        _store.SetupSequence(store => store.SavePreviewAsync(7, 1, It.IsAny<string>(), It.IsAny<CancellationToken>()))
            .ThrowsAsync(new StoreUnavailableException("away", new IOException()))
            .ReturnsAsync(new Transition(true, null));
        using var stop = new CancellationTokenSource();

        var running = RunAsync(new ForgeOptions(), stop.Token);
        await Until.TrueAsync(() => Named() == 2);
        await stop.CancelAsync();

        Assert.That(async () => await running, Throws.InstanceOf<OperationCanceledException>());
    }

    [TestCase(ForgeTaskState.Active, 0.0, ForgeFailure.Stalled, "forge has been loading a model for 00:00:20")]
    [TestCase(ForgeTaskState.Active, 0.01, ForgeFailure.Stalled, "forge has been loading a model for 00:00:20")]
    [TestCase(ForgeTaskState.Active, 0.2, ForgeFailure.Timeout, "forge gave no answer within 00:00:05 of generating")]
    public async Task Run_GivesLoadingATimeOfItsOwn(ForgeTaskState state, double fraction, ForgeFailure failure, string reason)
    {
        _forge.Setup(forge => forge.GetProgressAsync(Server, $"{JobId}-1", It.IsAny<bool>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(new ForgeProgress(state, fraction));
        var time = new FakeTimeProvider();

        var running = RunAsync(
            new ForgeOptions { Timeout = TimeSpan.FromSeconds(5), LoadTimeout = TimeSpan.FromSeconds(20) }, CancellationToken.None, time);
        await Until.TrueAsync(() =>
        {
            time.Advance(TimeSpan.FromMilliseconds(250));
            return running.IsCompleted;
        });

        var exception = (ForgeException)(await running).Cause!; // A failure has one.
        Assert.That((exception.Failure, exception.Reason), Is.EqualTo((failure, reason)));
    }

    private static ImageFiles Images(string directory) =>
        new(
            Options.Create(new ImagesOptions { Directory = directory }),
            TimeProvider.System,
            LoggerFactory.Create(_ => { }).CreateLogger<ImageFiles>());

    /// <summary>Forge generates, further with each question, and shows what a test says.</summary>
    private void Answer(Func<bool, byte[]?> preview)
    {
        var step = 0;
        _forge.Setup(forge => forge.GetProgressAsync(Server, $"{JobId}-1", It.IsAny<bool>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync((ForgeBackend _, string _, bool withPreview, CancellationToken _) =>
                new ForgeProgress(
                    ForgeTaskState.Active,
                    Math.Min(0.9, ++step * 0.001),
                    preview(withPreview) is { } bytes ? bytes : default(ReadOnlyMemory<byte>?),
                    step));
    }

    private Task<AttemptOutcome> RunAsync(ForgeOptions options, CancellationToken cancellationToken, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        options.PollInterval = TimeSpan.FromMilliseconds(20);
        var now = TimeProvider.System.GetUtcNow();
        var message = new Message
        {
            Id = 7,
            ConversationId = "c",
            Role = MessageRole.Bot,
            Content = "",
            ExtraMetadata = $$"""{"job_id":"{{JobId}}"}""",
            CreatedAt = now,
            UpdatedAt = now,
            QueuedAt = now,
            Attempt = 1,
            Revision = 1,
        };
        // The pump needs neither run nor pool.
        var attempt = new Attempt(null!, message, new BackendReservation(null!, new Backend(Server, now), BackendRequirements.Any))
        {
            Request = new ForgeModels(options).RequestOf(message),
        };
        using var logs = LoggerFactory.Create(logging => logging.AddProvider(_log));
        return new ProgressPump(_forge.Object, _store.Object, _images, Options.Create(options), time, logs.CreateLogger<ProgressPump>())
            .RunAsync(attempt, new GenerationClock(time), cancellationToken);
    }

    private int Named() => Calls(nameof(IMessageStore.SavePreviewAsync));

    private int Saved() => Calls(nameof(IMessageStore.SaveProgressAsync));

    private int Calls(string method) => _store.Invocations.Count(invocation => invocation.Method.Name == method);
}
