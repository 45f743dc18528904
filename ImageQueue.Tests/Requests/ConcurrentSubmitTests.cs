using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>Many submit at once: every request is stored once and gets its own place; limits and idempotency keys hold.</summary>
[Category(Categories.App)]
internal sealed class ConcurrentSubmitTests
{
    private TestApp _app = null!; // Set before the first test.

    /// <summary>Each test has conversations of its own.</summary>
    private static string Id => TestContext.CurrentContext.Test.ID;

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await TestApp.StartAsync(new()
    {
        // No backend generates: one request is held by the worker, the others wait behind it.
        ["Forge:Backends:0:Url"] = "http://127.0.0.1:9",
        ["Queue:MaxPendingPerUser"] = "100",
        ["Queue:MaxLength"] = "150",
    });

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    /// <summary>The next test finds an empty queue.</summary>
    [TearDown]
    public async Task CancelAllAsync()
    {
        var waiting = await _app.Services.GetRequiredService<IMessageStore>().ListByStatusAsync(
            MessageStatus.Queued, null, 1000, CancellationToken.None);
        var cancel = _app.Services.GetRequiredService<CancelImageRequest>();
        await Task.WhenAll(waiting.Select(message => cancel.CancelAsync(message.Id, CancellationToken.None)));
    }

    [TestCase(1)]
    [TestCase(30)]
    public async Task Submit_GivesEveryRequestItsOwnPlace_WhenManySubmitAtOnce(int conversations)
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 90).Select(i =>
            _app.SubmitAsync($"image {i}", $"{Id}-{i % conversations}", $"user{i % conversations}")));

        Assert.That(answers.Select(answer => (long)answer["id"]!).Distinct().Count(), Is.EqualTo(90));
        Assert.That(answers.Select(Position).Order(), Is.EqualTo(Enumerable.Range(1, 90)), "each answer has its own position");
        Assert.That(answers.Select(answer => (int)answer["queue"]!["position"]!), Is.EqualTo(answers.Select(Position)));
        Assert.That(answers.Select(answer => answer["queue"]!["eta_seconds"]), Is.All.Null, "nothing was generated yet");

        var now = await Task.WhenAll(answers.Select(answer => _app.GetMessageAsync((long)answer["id"]!)));
        Assert.That(now.Select(Position), Is.EqualTo(answers.Select(Position)), "the order is that of the answers");
        var prompts = now.Select(message => (string)message["extra_metadata"]!["prompt"]!);
        Assert.That(prompts, Is.EquivalentTo(Enumerable.Range(0, 90).Select(i => $"image {i}")));
    }

    [Test]
    public async Task Cancel_MovesEveryoneBehindUp_AtOnce()
    {
        var ids = new List<long>();
        for (var i = 0; i < 6; i++)
            ids.Add((long)(await _app.SubmitAsync($"image {i}", Id))["id"]!);

        (await _app.Http.PostAsync(new Uri($"api/messages/{ids[2]}/cancel", UriKind.Relative), null)).EnsureSuccessStatusCode();

        var positions = new List<int>();
        foreach (var id in ids)
            positions.Add(Position(await _app.GetMessageAsync(id)));
        Assert.That(positions, Is.EqualTo(new[] { 1, 2, 0, 3, 4, 5 }));
    }

    [Test]
    public async Task Submit_GivesTheSameMessage_WhenTheSameKeyComesManyTimesAtOnce()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => PostAsync("c", "ayşe", "gül", "key-1")));
        Assert.That(answers.Select(answer => answer.StatusCode), Is.All.EqualTo(HttpStatusCode.Accepted));
        var ids = await Task.WhenAll(answers.Select(async answer => (long)(await TestApp.ReadAsync(answer))["id"]!));
        Assert.That(ids.Distinct().Count(), Is.EqualTo(1));

        var other = await PostAsync("c", "ayşe", "lale", "key-1");
        Assert.That(other.StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
        var elsewhere = await TestApp.ReadAsync(await PostAsync("other", "ayşe", "lale", "key-1"));
        Assert.That((long)elsewhere["id"]!, Is.Not.EqualTo(ids[0]), "a key belongs to its conversation");
        Assert.That(Position(elsewhere), Is.EqualTo(2));
    }

    [Test]
    public async Task Submit_Is429_WhenTheUserHasTooManyWaiting()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 110).Select(i => PostAsync($"{i % 3}", "ayşe", $"image {i}")));

        var refused = answers.Where(answer => answer.StatusCode == HttpStatusCode.TooManyRequests).ToList();
        Assert.That(refused, Has.Count.EqualTo(10), "the limit counts all of a user's conversations");
        Assert.That(refused[0].Headers.RetryAfter?.Delta, Is.GreaterThan(TimeSpan.Zero));
        Assert.That((await PostAsync("d", "deniz", "gül")).StatusCode, Is.EqualTo(HttpStatusCode.Accepted), "others are not affected");
    }

    [Test]
    public async Task Submit_Is429_WhenTheQueueIsFull_ButRepeatsWhatItHasAccepted()
    {
        var first = await TestApp.ReadAsync(await PostAsync("c", "ayşe", "gül", "key-1"));
        for (var i = 1; i < 150; i += 50)
        {
            await Task.WhenAll(
                Enumerable.Range(i, Math.Min(50, 150 - i)).Select(n => _app.SubmitAsync($"image {n}", $"{Id}-{n}", $"user{n}")));
        }

        var refused = await PostAsync("x", "deniz", "lale");
        Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(refused.Headers.RetryAfter?.Delta, Is.EqualTo(TimeSpan.FromMinutes(1)));
        Assert.That((await PostAsync("x", "deniz", "lale", "key-2")).StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        var repeated = await TestApp.ReadAsync(await PostAsync("c", "ayşe", "gül", "key-1"));
        Assert.That((long)repeated["id"]!, Is.EqualTo((long)first["id"]!));
        Assert.That((await PostAsync("c", "ayşe", "lale", "key-1")).StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
    }

    [Test]
    public async Task Submit_StoresOneMessage_WhenTwoProcessesGetTheSameKeyAtOnce()
    {
        using var folder = new TemporaryFolder();
        await using var one = new SqliteMessageStore($"Data Source={folder.Path}/m.db", TimeProvider.System, new AsyncSignal());
        await using var two = new SqliteMessageStore($"Data Source={folder.Path}/m.db", TimeProvider.System, new AsyncSignal());
        await one.PrepareAsync(CancellationToken.None);

        for (var round = 0; round < 10; round++)
        {
            var key = round.ToString(CultureInfo.InvariantCulture);
            var submitted = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => Task.Run(() => (i % 2 == 0 ? one : two).SubmitAsync(
                new NewImageMessage(
                    "c",
                    "ayşe",
                    $"{round:d8}{i:d24}",
                    "gül",
                    new JsonObject { ["width"] = 512 },
                    1,
                    key), new UserLimits(1000), CancellationToken.None))));

            Assert.That(submitted.Select(s => s.Message.Id).Distinct().Count(), Is.EqualTo(1));
            Assert.That(submitted.Count(s => !s.IsReplay), Is.EqualTo(1));
        }
    }

    private static int Position(JsonObject message) => (int)message["extra_metadata"]!["queue_position"]!;

    private async Task<HttpResponseMessage> PostAsync(string conversation, string username, string prompt, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"api/conversations/{Id}-{conversation}/images")
        {
            Content = JsonContent.Create(new { username, prompt }),
        };
        if (key is not null)
            request.Headers.Add("Idempotency-Key", key);
        return await _app.Http.SendAsync(request);
    }
}
