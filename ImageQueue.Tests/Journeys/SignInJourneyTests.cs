using System.Net;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>Operators and other people's websites in a real browser.</summary>
[Category(Categories.Process)]
internal sealed class SignInJourneyTests : BrowserFixture
{
    /// <summary>Chromium calls a refusal an error. No page of ours or of Hangfire's breaks its own content security policy.</summary>
    private protected override bool IsExpected(string error) => error.Contains("401", StringComparison.Ordinal);

    [Test]
    public async Task Operator_SignsIn_ActsInTheDashboard_AndSignsOut()
    {
        await using var app = await AuthApp.StartAsync();
        var id = (long)(await app.SubmitAsync("[fault:stalled]"))["id"]!;
        await app.WaitForAsync(id, MessageStatus.Processing);
        await using var context = await Browser.OpenAsync(app.App);
        var page = await context.NewPageAsync();

        await page.GotoAsync("/hangfire/jobs/processing");
        Assert.That(new Uri(page.Url).AbsolutePath, Is.EqualTo("/login"));
        await page.GetByTestId("key").FillAsync(AuthApp.OperatorKey);
        await page.GetByTestId("sign-in").ClickAsync();

        await page.WaitForURLAsync("**/hangfire/jobs/processing", new() { WaitUntil = WaitUntilState.Commit });
        await page.Locator("tbody input.js-jobs-list-checkbox").First.CheckAsync();
        page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await page.Locator("[data-url$='/jobs/processing/delete']").First.ClickAsync();
        await app.WaitForAsync(id, MessageStatus.Cancelled);

        await page.GotoAsync("/hangfire/servers");
        var forgotten = await context.NewPageAsync();
        await forgotten.GotoAsync("/?c=sohbet");
        await page.GotoAsync("/");
        await page.GetByTestId("account").ClickAsync();
        await page.GetByTestId("sign-out").ClickAsync();
        await Assertions.Expect(page.GetByTestId("key")).ToBeVisibleAsync();
        await page.GotoAsync("/hangfire");
        Assert.That(new Uri(page.Url).AbsolutePath, Is.EqualTo("/login"));
        await forgotten.WaitForURLAsync("**/login?return=%2F%3Fc%3Dsohbet", new() { WaitUntil = WaitUntilState.Commit });
    }

    [Test]
    public async Task WrongKeys_AreLockedOut_AndTheRightOneIsNot()
    {
        await using var app = await AuthApp.StartAsync(new() { ["Auth:MaxFailedSignIns"] = "2" });
        await using var context = await Browser.OpenAsync(app.App);
        var page = await context.NewPageAsync();
        await page.GotoAsync("/login");

        foreach (var (key, problem) in new[]
        {
            ("wrong", "Bu anahtar tanınmıyor."),
            ("wrong", "15 dakika sonra"),
            ("wrong", "15 dakika sonra"),
        })
        {
            await page.GetByTestId("key").FillAsync(key);
            await page.GetByTestId("sign-in").ClickAsync();
            await Assertions.Expect(page.GetByTestId("problem")).ToContainTextAsync(problem);
        }

        await page.GetByTestId("key").FillAsync(AuthApp.OperatorKey);
        await page.GetByTestId("sign-in").ClickAsync();
        await page.WaitForURLAsync("**/hangfire", new() { WaitUntil = WaitUntilState.Commit });
        Browser.Errors.Clear(); // The browser calls 401 and 429 errors.
    }

    /// <summary>
    /// A page of another website, opened by a signed-in operator: first on this machine in Development, then with a cookie.
    /// </summary>
    [TestCase(false)]
    [TestCase(true)]
    public async Task ForeignPage_CannotCancelWatchOrRead(bool withCookie)
    {
        await using var foreign = await ForeignSiteAsync();
        await using var auth = withCookie ? await AuthApp.StartAsync() : null;
        await using var local = withCookie ? null : await TestApp.StartAsync();
        var app = auth?.App ?? local!; // One of the two.
        var message = withCookie
            ? await auth!.SubmitAsync("[fault:stalled]")
            : await app.SubmitAsync("[fault:stalled]", AuthApp.Conversation);
        await using var context = await Browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        if (withCookie)
        {
            await page.GotoAsync("/login");
            await page.GetByTestId("key").FillAsync(AuthApp.OperatorKey);
            await page.GetByTestId("sign-in").ClickAsync();
            await page.WaitForURLAsync("**/hangfire", new() { WaitUntil = WaitUntilState.Commit });
        }

        await page.GotoAsync(foreign.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        var root = app.Address.ToString();
        var results = await page.EvaluateAsync<string[]>(
            """
            async ([root, id, conversation]) => {
              const tried = [];
              const attempt = async (name, act) => { try { tried.push(`${name}: ${await act()}`); } catch (error) {
                  tried.push(`${name}: refused`); } };
              await attempt('read', async () => (await fetch(`${root}api/messages/${id}`, { credentials: 'include' })).status);
              await attempt('cancel', async () => (await fetch(`${root}api/messages/${id}/cancel`, { method: 'POST', credentials:
                  'include', mode: 'no-cors' })).type);
              await attempt('form', async () => {
                const frame = Object.assign(document.createElement('iframe'), { name: 'f' });
                const form = Object.assign(document.createElement('form'), { method: 'post', target: 'f', action:
                    `${root}api/messages/${id}/cancel` });
                document.body.append(frame, form);
                const loaded = new Promise(resolve => frame.addEventListener('load', resolve));
                form.submit();
                await loaded;
                return 'sent';
              });
              await attempt('events', () => new Promise((resolve, reject) => {
                const events = new EventSource(`${root}api/conversations/${conversation}/events`, { withCredentials: true });
                events.onopen = () => resolve('open');
                events.onerror = reject;
              }));
              await attempt('hub', () => new Promise((resolve, reject) => {
                const socket = new WebSocket(`${root.replace('http', 'ws')}hubs/images`);
                socket.onopen = () => resolve('open');
                socket.onerror = reject;
              }));
              return tried;
            }
            """,
            new object[] { root, (long)message["id"]!, AuthApp.Conversation });

        Assert.That(
            results,
            Is.EqualTo(new[] { "read: refused", "cancel: opaque", "form: sent", "events: refused", "hub: refused" }),
            "what is sent blindly is not answered, see below");
        var stored = await app.Services.GetRequiredService<IMessageStore>().FindAsync((long)message["id"]!, default);
        Assert.That(stored?.Status, Is.Not.EqualTo(MessageStatus.Cancelled));
        Assert.That(app.Log.Of(LogLevel.Error), Is.Empty);
        Browser.Errors.Clear(); // The browser says of each that it was refused.
    }

    /// <summary>A website that has nothing to do with ours: another port is another origin.</summary>
    private static async Task<WebApplication> ForeignSiteAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var site = builder.Build();
        site.Urls.Add($"http://{IPAddress.Loopback}:0");
        site.Run(context =>
        {
            context.Response.ContentType = "text/html";
            return context.Response.WriteAsync("<!DOCTYPE html><title>Elsewhere</title><link rel=icon href=data:,>");
        });
        await site.StartAsync();
        return site;
    }
}
