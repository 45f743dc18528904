using System.Net;
using ImageQueue.Core.Backends;
using ImageQueue.Tests.Auth;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>A request's timeline names who did what, whichever way the command came.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ActorJourneyTests
{
    [Test]
    public async Task Timeline_NamesTheActor_OfEachCommand()
    {
        await using var app = await AuthApp.StartAsync();
        var services = app.App.Services;
        await services.GetRequiredService<Pauses>().PauseQueueAsync("a test", CancellationToken.None);
        var one = (long)(await app.SubmitAsync("one"))["id"]!;
        var two = (long)(await app.SubmitAsync("two"))["id"]!;
        var (watcher, browser) = (app.As(await app.TokenAsync()), await app.SignInAsync(AuthApp.OperatorKey));

        await OkAsync(watcher.PostAsync($"api/messages/{one}/cancel", null));
        await OkAsync(app.Client().PostAsync($"api/messages/{one}/retry", null));
        await OkAsync(AuthApp.PostDashboardAsync(browser, "hangfire/commands/images/front", $"{two}"));
        var job = (await services.GetRequiredService<IMessageStore>().FindAsync(two, CancellationToken.None))!.HangfireJobId!;
        await OkAsync(AuthApp.PostDashboardAsync(browser, "hangfire/jobs/enqueued/delete", job));
        await app.WaitForAsync(two, MessageStatus.Cancelled);

        Assert.That(await EventsAsync(one), Is.EqualTo(new[]
        {
            (RequestEventKinds.Submitted, "client the client"), (RequestEventKinds.Cancelled, "user ayşe"),
            (RequestEventKinds.Retried, "client the client"),
        }));
        Assert.That(await EventsAsync(two), Is.EqualTo(new[]
        {
            (RequestEventKinds.Submitted, "client the client"), (RequestEventKinds.Prioritized, "operator the operator"),
            (RequestEventKinds.Cancelled, "operator the operator"),
        }));
        var page = WebUtility.HtmlDecode(await browser.GetStringAsync($"hangfire/images/{two}"));
        Assert.That(page, Does.Contain("by operator the operator").And.Contain("Moved to the front").And.Contain("by client the client"));

        await OkAsync(app.Client().DeleteAsync($"api/messages/{one}"));
        Assert.That(await EventsAsync(one), Is.EqualTo(new[] { (RequestEventKinds.Erased, "client the client") }));

        async Task<IEnumerable<(string, string?)>> EventsAsync(long id) =>
            (await services.GetRequiredService<IOperatorStore>().ReadEventsAsync([id], CancellationToken.None))[id]
                .Select(step => (step.What, step.By));
    }

    private static async Task OkAsync(Task<HttpResponseMessage> sent)
    {
        using var response = await sent;
        Assert.That(response.IsSuccessStatusCode, Is.True, await response.Content.ReadAsStringAsync());
    }
}
