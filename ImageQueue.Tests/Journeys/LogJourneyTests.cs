using ImageQueue.Core.Backends;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>The log, filtered by a message's id, tells its story in few lines.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class LogJourneyTests
{
    private const string Numbers = @"waited \d+\.\d s, generated \d+\.\d s";

    [Test]
    public async Task Lines_TellTheStory_OfARequest()
    {
        await using var app = await TestApp.StartAsync(new() { ["Messages:UsersInLogs"] = "Name" });
        var id = (long)(await app.SubmitAsync("bir gül [fault:oom*1]"))["id"]!;
        await app.WaitForAsync(id, MessageStatus.Error);
        await app.Http.PostAsync($"api/messages/{id}/retry", null);
        await app.WaitForAsync(id, MessageStatus.Complete);

        await AssertLinesAsync(
            app,
            id,
            @"^Warning: Message \d+, attempt 1, simulator: out_of_memory \(.*CUDA out of memory.*\)$",
            $"^Information: Message \\d+ is error \\(out_of_memory\\): user ayşe, backend simulator, {Numbers}\\.$",
            @"^Information: Message \d+ is queued again by local\.$",
            $"^Information: Message \\d+ is complete: user ayşe, backend simulator, {Numbers}\\.$");
    }

    [Test]
    public async Task Line_OfACancelledRequest_NamesTheActor_AndHashesTheUser()
    {
        await using var app = await AuthApp.StartAsync();
        await app.App.Services.GetRequiredService<Pauses>().PauseQueueAsync("a test", CancellationToken.None);
        var id = (long)(await app.SubmitAsync("waits"))["id"]!;
        await app.As(await app.TokenAsync()).PostAsync($"api/messages/{id}/cancel", null);

        await AssertLinesAsync(
            app.App,
            id,
            @"^Information: Message \d+ is cancelled: user [0-9a-f]{12}, backend none, \d+\.\d s after it was queued, by its user\.$");
    }

    [Test]
    public async Task SignIn_LogsNoWarning_AndReadsNoLargeForm()
    {
        await using var app = await AuthApp.StartAsync();
        var browser = app.Browser();
        (await AuthApp.SignInAsync(browser, AuthApp.OperatorKey)).Dispose();

        Assert.That((int)(await browser.GetAsync("hangfire")).StatusCode, Is.EqualTo(200));
        Assert.That(app.App.Log.Of(LogLevel.Warning), Is.Empty);
        using var large = await AuthApp.SignInAsync(app.Browser(), new string('x', 20_000));
        Assert.That((int)large.StatusCode, Is.EqualTo(400));
    }

    private static async Task AssertLinesAsync(TestApp app, long id, params string[] patterns)
    {
        await Until.TrueAsync(() => app.Log.OfMessage(id).Count() >= patterns.Length, $"{patterns.Length} lines: {app.Log}");
        var lines = app.Log.OfMessage(id).ToList();
        Assert.That(lines, Has.Count.EqualTo(patterns.Length), string.Join('\n', lines));
        Assert.Multiple(() =>
        {
            foreach (var (line, pattern) in lines.Zip(patterns))
                Assert.That(line, Does.Match(pattern));
        });
    }
}
