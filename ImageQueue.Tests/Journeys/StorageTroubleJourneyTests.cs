using System.Net;
using System.Net.Http.Json;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// A disk that is full, a folder that cannot be written, a database that is locked or read-only: said in a sentence, and survived.
/// </summary>
[Category(Categories.Process)]
internal sealed class StorageTroubleJourneyTests
{
    private static readonly object Small = new { width = 64, height = 64, steps = 4 };

    private TemporaryFolder _folder = null!; // Set before each test.

    private string Images => Path.Combine(_folder.Path, "images");

    private string Database => Path.Combine(_folder.Path, "imagequeue.db");

    [SetUp]
    public void SetUp() => _folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public async Task ImagesFolder_ThatCannotBeWritten_KeepsRequestsWaiting_UntilItCan()
    {
        // A file in the folder's place: rights do not keep root from anything.
        await File.WriteAllTextAsync(Images, "");
        await using var app = await TestApp.StartAsync(folder: _folder);

        var waiting = (long)(await app.SubmitAsync("bir gül", more: Small))["id"]!;
        await Until.TrueAsync(() => app.Log.ToString().Contains("Dequeuing paused", StringComparison.Ordinal), "operators are told");
        Assert.That(
            (string?)(await app.GetMessageAsync(waiting))["extra_metadata"]!["status"],
            Is.EqualTo(MessageStatus.Queued),
            "no GPU works for nothing");

        File.Delete(Images);
        await app.WaitForAsync(waiting, MessageStatus.Complete);
    }

    [Test]
    [Platform("Linux")]
    public async Task Disk_ThatIsFull_LosesNoImage_AndLeavesNoHalfFile()
    {
        await using var forge = await SimulatorServer.StartAsync(secondsPerImage: 400); // For the default size: about 0.3 s.
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Backends:0:Url"] = forge.Address.AbsoluteUri, ["Forge:Simulator:Enabled"] = "false" }, _folder);
        Directory.CreateDirectory(Images);
        var message = await app.SubmitAsync("bir gül", more: Small);
        // Whatever is written to /dev/full finds a full disk.
        File.CreateSymbolicLink(Path.Combine(Images, $"flux_{message["extra_metadata"]!["job_id"]}.1.tmp"), "/dev/full");

        await app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);

        Assert.That(app.Log.ToString(), Does.Contain("cannot be given its image"));
        Assert.That(forge.Stats.Total, Is.EqualTo(1), "generated once, written twice");
        Assert.That(Directory.GetFiles(Images, "*.tmp"), Is.Empty);
        Assert.That(Directory.GetFiles(Images, "*.png"), Has.Length.EqualTo(1));
    }

    [Test]
    public async Task Database_ThatIsLocked_RefusesWrites_AndLosesNoImage()
    {
        await using var forge = await SimulatorServer.StartAsync(secondsPerImage: 400);
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Backends:0:Url"] = forge.Address.AbsoluteUri, ["Forge:Simulator:Enabled"] = "false" }, _folder);
        var generating = (long)(await app.SubmitAsync("bir gül [fault:hang]", more: Small))["id"]!;
        var waiting = (long)(await app.SubmitAsync("bir gül daha", more: Small))["id"]!;
        await app.WaitForAsync(generating, MessageStatus.Processing);

        await using (var other = new SqliteConnection($"Data Source={Database};Pooling=False"))
        {
            await other.OpenAsync();
            await using var begin = other.CreateCommand();
            begin.CommandText = "BEGIN IMMEDIATE";
            await begin.ExecuteNonQueryAsync();

            using var refused = await app.Http.PostAsJsonAsync(
                "api/conversations/demo/images", new { username = "ayşe", prompt = "bir gül" });
            Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That((string?)(await TestApp.ReadAsync(refused))["detail"], Does.Contain("locked by another program"));
            Assert.That(
                (string?)(await app.GetMessageAsync(waiting))["extra_metadata"]!["status"],
                Is.EqualTo(MessageStatus.Queued),
                "reading goes on");
            forge.Simulator.Faults.Clear(); // The first image is generated now, and cannot be stored.
            await Until.TrueAsync(() => forge.Simulator.Stats.Snapshot().Generated == 1, "the image is generated");
        }

        await app.WaitForAsync(generating, MessageStatus.Complete);
        await app.WaitForAsync(waiting, MessageStatus.Complete);
        Assert.That(forge.Simulator.Stats.Snapshot().Total, Is.EqualTo(2), "no image was lost and generated again");
    }

    [Test]
    public async Task Database_ThatIsReadOnly_RefusesWrites()
    {
        await using (await TestApp.StartAsync(folder: _folder))
        {
            // Makes the tables.
        }

        await using var app = await TestApp.StartAsync(
            new() { ["ConnectionStrings:ImageQueue"] = $"Data Source={Database};Mode=ReadOnly" }, _folder);

        using var refused = await app.Http.PostAsJsonAsync("api/conversations/demo/images", new { username = "ayşe", prompt = "bir gül" });

        Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable), app.Log.ToString());
        Assert.That((string?)(await TestApp.ReadAsync(refused))["detail"], Does.Contain("read-only"));
        Assert.That((await app.Http.GetAsync("api/queue")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    [Platform("Linux")]
    public async Task Disk_ThatIsFull_RefusesWrites_UntilThereIsRoom()
    {
        var disk = Path.Combine(_folder.Path, "disk");
        Directory.CreateDirectory(disk);
        if (Run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk) != 0)
            Assert.Ignore("A small disk can be made by root only; run this as root, in a container for one.");
        try
        {
            await using var app = await TestApp.StartAsync(
                new() { ["ConnectionStrings:ImageQueue"] = $"Data Source={Path.Combine(disk, "imagequeue.db")}" }, _folder);
            var accepted = (long)(await app.SubmitAsync("bir gül", more: Small))["id"]!;
            await app.WaitForAsync(accepted, MessageStatus.Complete);
            var ballast = Path.Combine(disk, "ballast");
            Assert.Throws<IOException>(() =>
            {
                using var file = File.OpenHandle(ballast, FileMode.Create, FileAccess.Write);
                for (var offset = 0L; ; offset += 4096)
                    RandomAccess.Write(file, new byte[4096], offset);
            });

            HttpStatusCode status;
            string? detail = null;
            for (var i = 0; ; i++)
            {
                // What has room in the log that is there already is still taken.
                using var response = await app.Http.PostAsJsonAsync(
                    "api/conversations/demo/messages", new { username = "ayşe", role = "user", content = new string('x', 10_000) });
                status = response.StatusCode;
                detail = (string?)(await TestApp.ReadAsync(response))["detail"];
                if (status != HttpStatusCode.Created || i == 1000)
                    break;
            }

            Assert.That(status, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(detail, Does.Contain("the disk is full"));
            Assert.That(
                (string?)(await app.GetMessageAsync(accepted))["extra_metadata"]!["status"],
                Is.EqualTo(MessageStatus.Complete),
                "reading goes on");

            File.Delete(ballast);
            await AssertRecoversAsync(app);
        }
        finally
        {
            Run("umount", "-l", disk);
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        using var process = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        process.WaitForExit();
        return process.ExitCode;
    }

    private static async Task AssertRecoversAsync(TestApp app) =>
        await app.WaitForAsync((long)(await app.SubmitAsync("bir gül daha", more: Small))["id"]!, MessageStatus.Complete);
}
