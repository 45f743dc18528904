using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

/// <summary>What is kept for a time only.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class CleanupTests
{
    /// <summary>How the list of recurring jobs names it; its server's name is on the page as well.</summary>
    private const string Listed = "Cleanup: remove expired";

    [Test]
    public async Task Cleanup_RemovesExpiredImagesAndTombstones_AndSaysSoInTheMessages()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Images:KeepFor"] = "30.00:00:00", ["Messages:KeepTombstonesFor"] = "00:01:00" });
        var store = app.Services.GetRequiredService<IMessageStore>();
        var old = (long)(await app.SubmitAsync("eski"))["id"]!;
        var young = (long)(await app.SubmitAsync("yeni"))["id"]!;
        var job = (string)(await app.WaitForAsync(old, MessageStatus.Complete))["extra_metadata"]!["job_id"]!;
        await app.WaitForAsync(young, MessageStatus.Complete);
        await app.JobStateAsync(old, "Succeeded");
        File.SetLastWriteTimeUtc(
            Path.Combine(app.ImagesFolder, $"flux_{job}.png"), TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(-31));

        await app.Services.GetRequiredService<Cleanup>().CleanUpAsync(CancellationToken.None);

        var message = await app.GetMessageAsync(old);
        var metadata = message["extra_metadata"]!.AsObject();
        Assert.Multiple(() =>
        {
            Assert.That((string?)metadata["status"], Is.EqualTo(MessageStatus.Complete));
            Assert.That((metadata.ContainsKey("image_url"), metadata.ContainsKey("thumbnail_url")), Is.EqualTo((false, false)));
            Assert.That((string?)message["content"], Is.EqualTo("Bu görsel artık saklanmıyor."));
            Assert.That(Directory.GetFiles(app.ImagesFolder).Where(path => path.Contains(job, StringComparison.Ordinal)), Is.Empty);
            Assert.That(Directory.GetFiles(app.ImagesFolder), Has.Length.EqualTo(2), "the young one's");
        });
        var revision = (long)message["revision"]!;
        await app.Services.GetRequiredService<Cleanup>().CleanUpAsync(CancellationToken.None);
        Assert.That((long)(await app.GetMessageAsync(old))["revision"]!, Is.EqualTo(revision), "once");

        Assert.That(
            (int)(await app.Http.DeleteAsync(string.Create(CultureInfo.InvariantCulture, $"api/messages/{old}"))).StatusCode,
            Is.EqualTo(204));
        await app.Services.GetRequiredService<Cleanup>().CleanUpAsync(CancellationToken.None);
        Assert.That(
            (await store.ChangesSinceAsync(0, null, 10, default)).Select(change => change.Message.Id), Does.Contain(old), "not that old");
    }

    /// <summary>An image that another program holds open cannot be removed on Windows, at each pass.</summary>
    [Test]
    public async Task Cleanup_RemovesTheOtherImages_WhenOneCannotBeRemoved()
    {
        await using var bench = await Bench.CreateAsync(settings: new() { ["Images:KeepFor"] = "1.00:00:00" });
        var ids = new[] { new string('a', 32), new string('b', 32), new string('c', 32) };
        foreach (var id in ids)
            await AddOldFileAsync(bench, $"flux_{id}.png");
        Directory.CreateDirectory(Path.Combine(bench.ImagesFolder, $"flux_{ids[1]}.thumb.webp")); // No file that can be deleted.

        await bench.Get<Cleanup>().CleanUpAsync(CancellationToken.None);

        Assert.That(ids.Where(id => File.Exists(Path.Combine(bench.ImagesFolder, $"flux_{id}.png"))), Is.EqualTo(new[] { ids[1] }));
        Assert.That(bench.Log.Of(LogLevel.Warning), Has.One.Contains(ids[1]));
    }

    [Test]
    public async Task Cleanup_RemovesUploadsAndFails_WhenTheImagesCannotBeLookedUp()
    {
        await using var bench = await Bench.CreateAsync(
            settings: new() { ["Images:KeepFor"] = "1.00:00:00" },
            wrap: store => FaultyStore.Around(
                store, (method, _) => method == nameof(IMessageStore.FindByJobIdAsync) ? FaultyStore.Broken() : null).Store);
        await AddOldFileAsync(bench, $"flux_{new string('a', 32)}.png");
        var upload = await AddOldFileAsync(bench, $"upload_{new string('b', 32)}.png");

        Assert.That(
            () => bench.Get<Cleanup>().CleanUpAsync(CancellationToken.None),
            Throws.Exception.With.Message.Contains(FaultyStore.Broken().Message));

        Assert.That(File.Exists(upload), Is.False);
    }

    [Test]
    public async Task UsedUploads_RemovesTheOtherFiles_WhenOneCannotBeRemoved()
    {
        await using var bench = await Bench.CreateAsync();
        var ids = new[] { new string('a', 32), new string('b', 32) };
        Directory.CreateDirectory(Path.Combine(bench.ImagesFolder, $"upload_{ids[0]}.png"));
        var other = await AddOldFileAsync(bench, $"upload_{ids[1]}.png");
        var store = new Mock<IUploadStore>();
        store.Setup(one => one.ForgetUploadsAsync(ids, It.IsAny<CancellationToken>())).ReturnsAsync(ids);

        var uploads = ActivatorUtilities.CreateInstance<UsedUploads>(bench.Get<IServiceProvider>(), store.Object);
        await uploads.RemoveUnusedAsync(ids, CancellationToken.None);

        Assert.That(File.Exists(other), Is.False);
        Assert.That(bench.Log.Of(LogLevel.Warning), Has.One.Contains(ids[0]));
    }

    private static async Task<string> AddOldFileAsync(Bench bench, string name)
    {
        Directory.CreateDirectory(bench.ImagesFolder);
        var path = Path.Combine(bench.ImagesFolder, name);
        await File.WriteAllTextAsync(path, "x");
        File.SetLastWriteTimeUtc(path, TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(-60));
        return path;
    }

    /// <summary>A first retention on 100,000 images takes long, and the sweep is due each minute.</summary>
    [Test]
    public async Task Sweep_Runs_WhileACleanupTakesLong()
    {
        using var goOn = new ManualResetEventSlim();
        var began = new TaskCompletionSource();
        await using var app = await TestApp.StartAsync(
            new() { ["Messages:KeepTombstonesFor"] = "1.00:00:00" },
            configure: builder => FaultyStore.PutAround(builder.Services, method =>
            {
                if (method == nameof(IMessageStore.ForgetErasedAsync) && began.TrySetResult())
                    goOn.Wait();
                return null;
            }));
        var (recurring, jobs) = (app.Services.GetRequiredService<IRecurringJobManagerV2>(), app.Services.GetRequiredService<ImageJobs>());
        await app.Services.GetRequiredService<QueueRebuildState>().Done;
        var cleanup = recurring.TriggerJob(Cleanup.Id);
        await began.Task;

        var sweep = recurring.TriggerJob(RecurringJobs.SweepId);

        await Until.TrueAsync(() => jobs.Find(sweep)?.Name == SucceededState.StateName, "the sweep has run");
        Assert.That(jobs.Find(cleanup)?.Name, Is.EqualTo(ProcessingState.StateName));
        goOn.Set();
    }

    [Test]
    public async Task Job_IsScheduled()
    {
        await using var app = await TestApp.StartAsync();

        await Until.TrueAsync(
            async () => (await app.Http.GetStringAsync("hangfire/recurring")).Contains(Listed, StringComparison.Ordinal));
    }

    [TestCase("Images:KeepFor")]
    [TestCase("Images:KeepUploadsFor")]
    [TestCase("Messages:KeepTombstonesFor")]
    public void Start_SaysWhatIsWrong_WhenTheTimeIsTooShort(string key) =>
        Assert.That(
            async () => await TestApp.StartAsync(new() { [key] = "00:00:01" }),
            Throws.Exception.With.Message.Contains($"{key} must be 00:01:00 or more."));
}
