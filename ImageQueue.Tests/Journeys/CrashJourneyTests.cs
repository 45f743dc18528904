using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// The real app, killed at random moments while it takes and generates requests, and started again: nothing accepted is lost,
/// generated into two files, or left behind. Forge is a simulator in this process, so it outlives the app.
/// </summary>
/// <remarks>
/// The long form: <c>dotnet test ImageQueue.Tests --filter
/// "FullyQualifiedName~CrashJourneyTests.Kill_LosesNothing_WhenItComesAtAnyMoment"</c>,
/// with the seed of an earlier run in IMAGEQUEUE_TEST_SEED to repeat its moments.
/// </remarks>
[Category(Categories.Process)]
internal sealed class CrashJourneyTests
{
    private const string Conversation = "demo";

    [Test]
    public Task Kill_LosesNothing_WhenItComesFourTimes() => CrashAsync(kills: 4, gracefully: _ => false);

    [Test]
    [Explicit("Takes minutes. Prints its seed and figures.")]
    public Task Kill_LosesNothing_WhenItComesAtAnyMoment() => CrashAsync(kills: 32, gracefully: _ => false);

    [Test]
    public Task Stop_LosesNothing_WhenItComesTwice() => CrashAsync(kills: 2, gracefully: _ => true);

    [Test]
    [Explicit("Takes minutes. Prints its seed and figures.")]
    public Task StopAndKill_LoseNothing_WhenTheyComeInTurns() => CrashAsync(kills: 20, gracefully: round => round % 2 == 0);

    /// <summary>An upload was whole and another half received when the process was killed; no request has named them.</summary>
    [Test]
    public async Task Kill_LeavesNoUploadBehind_AfterTheCleanup()
    {
        using var folder = new TemporaryFolder();
        await using (var app = await AppProcess.StartAsync(folder.Path, forge: null))
        {
            using var whole = new ByteArrayContent(TestImages.Make()) { Headers = { ContentType = new("image/png") } };
            using var uploaded = await app.Http.PostAsync("api/conversations/demo/uploads", whole);
            Assert.That((int)uploaded.StatusCode, Is.EqualTo(201), await uploaded.Content.ReadAsStringAsync());
            using var half = new TcpClient(app.Http.BaseAddress!.Host, app.Http.BaseAddress.Port);
            var head = "POST /api/conversations/demo/uploads HTTP/1.1\r\nHost: localhost\r\n"
                + "Content-Type: image/png\r\nContent-Length: 1000000\r\n\r\n";
            byte[] begun = [.. Encoding.ASCII.GetBytes(head), .. TestImages.Make()];
            await half.GetStream().WriteAsync(begun);
            await Until.TrueAsync(() => Uploads().Length == 2, "the second is being received");
            await app.KillAsync();
        }

        await using var next = await TestApp.StartAsync(
            folder: folder,
            configure: builder => builder.Services.AddSingleton<TimeProvider>(new LaterClock(TimeSpan.FromDays(2))));
        await next.Services.GetRequiredService<Cleanup>().CleanUpAsync(CancellationToken.None);

        Assert.That(Uploads(), Is.Empty);

        string[] Uploads() => Directory.GetFiles(Path.Combine(folder.Path, "images"), "upload_*");
    }

    private static async Task CrashAsync(int kills, Func<int, bool> gracefully)
    {
        var seed = int.TryParse(
            Environment.GetEnvironmentVariable("IMAGEQUEUE_TEST_SEED"), NumberStyles.None, CultureInfo.InvariantCulture, out var given)
            ? given
            : Random.Shared.Next();
        TestContext.Out.WriteLine($"Seed {seed}.");
        var random = new Random(seed);

        // About 0.2 s for each of the small images.
        await using var forge = await SimulatorServer.StartAsync(secondsPerImage: 8);
        using var folder = new TemporaryFolder();
        var settings = new Dictionary<string, string>
        {
            ["Forge__MaxAttempts"] = "100",
            ["Shutdown__DrainTimeout"] = "00:00:00.100",
        };
        var expected = new Expectations();
        var stops = new List<TimeSpan>();
        var starts = new List<TimeSpan>();
        for (var round = 0; round < kills; round++)
        {
            var started = Stopwatch.GetTimestamp();
            await using var app = await AppProcess.StartAsync(folder.Path, forge.Address, settings);
            starts.Add(Stopwatch.GetElapsedTime(started));
            var working = WorkAsync(app, random.Next(2, 6), round, expected);
            await Task.Delay(random.Next(20, 1500));
            if (gracefully(round))
            {
                stops.Add(await app.StopAsync());
                Assert.That(await app.ExitAsync(), Is.Zero, app.Output);
            }
            else
            {
                await app.KillAsync();
            }

            await working;
        }

        await using var last = await AppProcess.StartAsync(folder.Path, forge.Address, settings);
        await last.SubmitAsync("after all that"); // On a slow machine every kill may come before the first answer.
        var messages = await last.ListAsync(Conversation);
        foreach (var message in messages)
            await last.WaitForAsync((long)message["id"]!, MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled);
        messages = await last.ListAsync(Conversation);
        Assert.That(await last.StopAsync(), Is.LessThan(TimeSpan.FromSeconds(50)), last.Output);

        expected.AssertKept(messages);
        AssertImages(messages, Path.Combine(folder.Path, "images"));
        await AssertAttemptsAsync(messages, Path.Combine(folder.Path, "imagequeue.db"), forge);
        var asked = forge.Simulator.Stats.Snapshot();
        TestContext.Out.WriteLine(
            $"{kills} times cut off: {messages.Count} requests ({expected.Accepted} answers seen), all complete; Forge was asked "
                + $"{asked.Total} times, interrupted {asked.InterruptCalls}; "
            + $"slowest start {starts.Max().TotalSeconds:0.0} s; slowest stop {stops.DefaultIfEmpty().Max().TotalSeconds:0.0} s.");
    }

    /// <summary>What a chat app does: asks, and keeps keys of its own with the message. Ends when the app is gone.</summary>
    private static async Task WorkAsync(AppProcess app, int requests, int round, Expectations expected)
    {
        for (var i = 0; i < requests; i++)
        {
            var submitted = await app.TrySubmitAsync($"istek {round}.{i} 🌹", Conversation);
            if (submitted is null)
                return;
            var id = (long)submitted["id"]!;
            expected.Accept(id);
            var mine = new JsonObject { ["client"] = new JsonObject { ["round"] = round, ["ş"] = $"{i}" }, ["seen"] = true }.ToJsonString();
            try
            {
                using var patch = new StringContent($$$"""{"extra_metadata":{{{mine}}}}""", Encoding.UTF8, "application/merge-patch+json");
                using var patched = await app.Http.PatchAsync($"api/messages/{id}", patch);
                patched.EnsureSuccessStatusCode();
                expected.Patch(id, mine);
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException)
            {
                return;
            }
        }

        try
        {
            while (true)
            {
                foreach (var message in await app.ListAsync(Conversation))
                    expected.See(message);
                await Task.Delay(50);
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException)
        {
            // Killed.
        }
    }

    private static void AssertImages(List<JsonObject> messages, string images)
    {
        var files = Directory.GetFiles(images).Select(path => Path.GetFileName(path)).ToHashSet();
        foreach (var message in messages)
        {
            var metadata = message["extra_metadata"]!.AsObject();
            Assert.That((string?)metadata["status"], Is.EqualTo(MessageStatus.Complete), message.ToJsonString());
            Assert.That((int)metadata["progress"]!, Is.EqualTo(100), message.ToJsonString());
            var file = Path.GetFileName((string)metadata["image_url"]!);
            Assert.That(files.Remove(file), Is.True, $"{file} is missing, or two messages have it");
            var thumbnail = Path.GetFileName((string)metadata["thumbnail_url"]!);
            Assert.That(files.Remove(thumbnail), Is.True, $"{thumbnail} is missing, or two messages have it");
            using var bitmap = SKBitmap.Decode(Path.Combine(images, file));
            Assert.That((bitmap?.Width, bitmap?.Height), Is.EqualTo((256, 256)), file);
        }

        Assert.That(files, Is.Empty, "files that belong to no message");
    }

    /// <summary>Forge was asked once for each attempt that came so far, and never for more.</summary>
    private static async Task AssertAttemptsAsync(List<JsonObject> messages, string database, SimulatorServer forge)
    {
        var asked = forge.Simulator.Stats.Snapshot().Received.ToLookup(request => request.Task[..32], request => request.Task);
        await using var store = new SqliteMessageStore($"Data Source={database}", TimeProvider.System, new AsyncSignal());
        foreach (var id in messages.Select(message => (long)message["id"]!))
        {
            var message = (await store.FindAsync(id, CancellationToken.None))!;
            var tasks = asked[message.JobId!].ToList();
            Assert.That(tasks, Is.Unique, $"message {id}");
            Assert.That(tasks, Has.Count.InRange(1, message.Attempt), $"message {id}");
        }

        Assert.That(await store.CountAsync(MessageStatus.Queued, CancellationToken.None), Is.Zero);
        Assert.That(await store.CountAsync(MessageStatus.Processing, CancellationToken.None), Is.Zero);
    }

    /// <summary>What the app has promised so far.</summary>
    private sealed class Expectations
    {
        private readonly HashSet<long> _accepted = [];
        private readonly Dictionary<long, JsonObject> _patches = [];
        private readonly Dictionary<long, string> _complete = [];

        public int Accepted => _accepted.Count;

        public void Accept(long id) => _accepted.Add(id);

        public void Patch(long id, string metadata) => _patches[id] = JsonNode.Parse(metadata)!.AsObject();

        /// <summary>Once complete, a message does not change again, whatever happens to the process.</summary>
        public void See(JsonObject message)
        {
            var id = (long)message["id"]!;
            if ((string?)message["extra_metadata"]!["status"] != MessageStatus.Complete)
            {
                Assert.That(
                    _complete.ContainsKey(id), Is.False, $"message {id} was complete and is not any more: {message.ToJsonString()}");
            }
            else if (!_complete.TryAdd(id, message["extra_metadata"]!.ToJsonString()))
            {
                Assert.That(message["extra_metadata"]!.ToJsonString(), Is.EqualTo(_complete[id]), $"message {id} was completed twice");
            }
        }

        public void AssertKept(List<JsonObject> messages)
        {
            messages.ForEach(See);
            var byId = messages.ToDictionary(message => (long)message["id"]!);
            Assert.That(_accepted.Except(byId.Keys), Is.Empty, "accepted, and gone");
            foreach (var (id, patch) in _patches)
            {
                foreach (var (key, value) in patch)
                {
                    Assert.That(
                        byId[id]["extra_metadata"]![key]?.ToJsonString(), Is.EqualTo(value!.ToJsonString()), $"{key} of message {id}");
                }
            }
        }
    }
}
