using Hangfire;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

/// <summary>What a start removes from a folder into which other machines generate.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class AbandonedFilesTests
{
    private static readonly string JobId = new('a', 32);

    /// <summary>Another machine completes the row while this one reads; it renames the file after that.</summary>
    /// <param name="reads">After so many reads of the database.</param>
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public async Task Remove_LeavesAnotherMachinesImage_WhenItIsCompletedMeanwhile(int reads)
    {
        using var folder = new TemporaryFolder();
        var files = new ImageFiles(
            Options.Create(new ImagesOptions { Directory = folder.Path }), TimeProvider.System, NullLogger<ImageFiles>.Instance);
        using var image = files.Prepare(JobId, 1, TestImages.Make());
        var store = new Mock<IMessageStore>();
        store.Setup(one => one.ListByStatusAsync(
                MessageStatus.Processing, It.IsAny<UnfinishedCursor?>(), It.IsAny<int>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(() => Read() is { Status: MessageStatus.Processing } row ? [row] : []);
        store.Setup(one => one.FindByJobIdAsync(JobId, It.IsAny<CancellationToken>())).ReturnsAsync(Read);
        var jobs = new ImageJobs(null!, new Mock<JobStorage>().Object, null!, TimeProvider.System); // Its jobs outlive the process.

        await new AbandonedFiles(store.Object, jobs, files, NullLogger<AbandonedFiles>.Instance).RemoveAsync(CancellationToken.None);
        image.Publish();

        Assert.That(files.FindPath(JobId), Is.Not.Null);

        Message Read() => RowOf(reads-- > 0 ? MessageStatus.Processing : MessageStatus.Complete);
    }

    private static Message RowOf(string status) => new()
    {
        Username = "ayşe",
        Id = 1,
        Revision = 1,
        ConversationId = "demo",
        Role = MessageRole.Bot,
        Content = "",
        ExtraMetadata = $$"""{"status":"{{status}}","job_id":"{{JobId}}"}""",
        CreatedAt = DateTimeOffset.UnixEpoch,
        UpdatedAt = DateTimeOffset.UnixEpoch,
        QueuedAt = DateTimeOffset.UnixEpoch,
        Attempt = 1,
    };
}
