using System.Text.RegularExpressions;
using Hangfire;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>Operators: the way in, what they do, what is written down of it, and the way out.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed partial class SignInTests
{
    [Test]
    public async Task SignIn_SetsACookieThatNoScriptReads_AndLeadsBack()
    {
        await using var app = await AuthApp.StartAsync();

        using var response = await AuthApp.SignInAsync(app.Browser(), AuthApp.OperatorKey, "/hangfire/retries");

        Assert.That((int)response.StatusCode, Is.EqualTo(302));
        Assert.That(response.Headers.Location?.OriginalString, Is.EqualTo("/hangfire/retries"));
        var cookie = response.Headers.GetValues("Set-Cookie").Single(cookie => cookie.StartsWith("imagequeue=", StringComparison.Ordinal));
        Assert.That(cookie, Does.Contain("httponly").And.Contain("samesite=lax").And.Contain("path=/"));
    }

    [TestCase("https://evil.example/")]
    [TestCase("//evil.example/")]
    [TestCase("/\\evil.example/")]
    public async Task SignIn_LeadsNowhereElse(string page)
    {
        await using var app = await AuthApp.StartAsync();

        using var response = await AuthApp.SignInAsync(app.Browser(), AuthApp.OperatorKey, page);

        Assert.That(response.Headers.Location?.OriginalString, Is.EqualTo("/hangfire"));
    }

    [Test]
    public async Task SignIn_IsRefused_WithoutTheFormsOwnToken()
    {
        await using var app = await AuthApp.StartAsync();

        using var response = await app.Browser().PostAsync(
            "login", new FormUrlEncodedContent(new Dictionary<string, string> { ["key"] = AuthApp.OperatorKey }));

        Assert.That((int)response.StatusCode, Is.EqualTo(400));
        Assert.That(response.Headers.Contains("Set-Cookie"), Is.False);
    }

    [Test]
    public async Task SignIn_IsRefused_WithAClientsKey()
    {
        await using var app = await AuthApp.StartAsync();

        using var response = await AuthApp.SignInAsync(app.Browser(), AuthApp.ClientKey);

        Assert.That((int)response.StatusCode, Is.EqualTo(401));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("An operator&#x27;s key is needed"));
    }

    /// <summary>Wrong keys have to wait then, from that address and with that beginning alone; a right key never does.</summary>
    [Test]
    public async Task SignIn_IsLockedOut_AfterRepeatedFailures_UntilTheTimeIsOver()
    {
        var time = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        await using var app = await AuthApp.StartAsync(
            new() { ["Auth:MaxFailedSignIns"] = "3", ["Auth:Proxies:0"] = "127.0.0.1" },
            configure: builder =>
                builder.Services.Replace(
                    ServiceDescriptor.Singleton(
                        provider =>
                            new SignInLockout(provider.GetRequiredService<Microsoft.Extensions.Options.IOptions<AuthOptions>>(), time))));
        var (mine, others) = (app.Browser(), app.Browser());
        mine.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.9");
        others.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.10");

        Assert.That(await TryAsync(mine, "wrong"), Is.EqualTo(401));
        Assert.That(await TryAsync(mine, "wrong"), Is.EqualTo(401));
        Assert.That(await TryAsync(mine, AuthApp.OperatorKey), Is.EqualTo(302));
        mine = app.Browser();
        mine.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.9");
        foreach (var expected in new[] { 401, 401, 429, 429 })
            Assert.That(await TryAsync(mine, "wrong"), Is.EqualTo(expected));
        using (var response = await AuthApp.SignInAsync(mine, "wrong"))
        {
            Assert.That((int)response.StatusCode, Is.EqualTo(429));
            Assert.That(response.Headers.RetryAfter?.Delta, Is.EqualTo(TimeSpan.FromMinutes(15)));
            Assert.That(response.Headers.Contains("Set-Cookie"), Is.False);
        }

        Assert.That(await TryAsync(others, "wrong"), Is.EqualTo(401));
        Assert.That(await TryAsync(mine, "iq_operator_another"), Is.EqualTo(401));
        time.Advance(TimeSpan.FromMinutes(15));
        Assert.That(await TryAsync(mine, "wrong"), Is.EqualTo(401));
        foreach (var expected in new[] { 401, 429 })
            Assert.That(await TryAsync(mine, "wrong"), Is.EqualTo(expected));
        Assert.That(await TryAsync(mine, AuthApp.OperatorKey), Is.EqualTo(302));
        Assert.That(Audit(app), Has.Exactly(2).Contains("locked out").And.Exactly(9).Contains("Sign-in from 203.0.113.9 failed"));
    }

    [Test]
    public async Task SignOut_EndsTheSession()
    {
        await using var app = await AuthApp.StartAsync();
        var browser = await app.SignInAsync(AuthApp.OperatorKey);
        Assert.That((int)(await browser.GetAsync("hangfire")).StatusCode, Is.EqualTo(200));

        using var response = await AuthApp.PostFormAsync(browser, "logout", []);

        Assert.That((int)response.StatusCode, Is.EqualTo(302));
        Assert.That((int)(await browser.GetAsync("hangfire")).StatusCode, Is.EqualTo(401));
    }

    /// <summary>Taking a key out of the settings ends what was signed in with it.</summary>
    [Test]
    public async Task Session_Ends_WhenItsKeyIsTakenAway()
    {
        using var folder = new TemporaryFolder();
        string cookie;
        await using (var first = await AuthApp.StartAsync(folder: folder))
        {
            using var response = await AuthApp.SignInAsync(first.Browser(), AuthApp.OperatorKey);
            cookie = response.Headers.GetValues("Set-Cookie")
                .Single(one => one.StartsWith("imagequeue=", StringComparison.Ordinal))
                .Split(';')[0];
        }

        await using (var same = await AuthApp.StartAsync(folder: folder))
            Assert.That(await StatusAsync(same), Is.EqualTo(200));
        await using (
            var other = await AuthApp.StartAsync(
                new() { ["Auth:ApiKeys:1:KeyHash"] = Convert.ToHexString(ApiKeys.Hash("another key")) }, folder: folder))
        {
            Assert.That(await StatusAsync(other), Is.EqualTo(401));
        }

        async Task<int> StatusAsync(AuthApp app)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "hangfire");
            request.Headers.Add("Cookie", cookie);
            using var response = await app.As(null).SendAsync(request);
            return (int)response.StatusCode;
        }
    }

    /// <summary>A cookie counts for nothing in what another website sends, or a program that does not say where from.</summary>
    [TestCase("Origin", "https://evil.example", 401)]
    [TestCase("Sec-Fetch-Site", "cross-site", 401)]
    [TestCase("Sec-Fetch-Site", "same-origin", 200)]
    [TestCase("X-Nothing", "1", 401)]
    public async Task Cookie_CancelsNothing_FromAnotherWebsite(string header, string value, int status)
    {
        await using var app = await AuthApp.StartAsync();
        var id = (long)(await app.SubmitAsync("[fault:stalled]"))["id"]!;
        var browser = await app.SignInAsync(AuthApp.OperatorKey);
        browser.DefaultRequestHeaders.Remove("Origin");
        browser.DefaultRequestHeaders.Add(header, value);

        using var response = await browser.PostAsync($"api/messages/{id}/cancel", null);

        Assert.That((int)response.StatusCode, Is.EqualTo(status));
    }

    /// <summary>The dashboard shows no buttons, and the server takes no clicks.</summary>
    [Test]
    public async Task ReadOnlyOperator_SeesAndCannotAct()
    {
        await using var app = await AuthApp.StartAsync();
        var generating = (long)(await app.SubmitAsync("[fault:stalled]"))["id"]!;
        await app.WaitForAsync(generating, MessageStatus.Processing);
        var (acts, looks) = (await app.SignInAsync(AuthApp.OperatorKey), await app.SignInAsync(AuthApp.ReaderKey));

        Assert.That(Buttons.IsMatch(await acts.GetStringAsync("hangfire/jobs/processing")), Is.True);
        Assert.That(Buttons.IsMatch(await looks.GetStringAsync("hangfire/jobs/processing")), Is.False);
        // It is being generated.
        var job = (await app.App.Services.GetRequiredService<IMessageStore>().FindAsync(generating, default))!.HangfireJobId!;
        Assert.That((int)(await AuthApp.PostDashboardAsync(looks, $"hangfire/jobs/actions/delete/{job}")).StatusCode, Is.EqualTo(403));
        Assert.That(StateOf(app, job), Is.EqualTo("Processing"));

        Assert.That((int)(await AuthApp.PostDashboardAsync(acts, "hangfire/jobs/processing/delete", job)).StatusCode, Is.EqualTo(204));

        await app.WaitForAsync(generating, MessageStatus.Cancelled);
        Assert.That(Audit(app), Has.Some.Contains($"the operator from 127.0.0.1: POST /hangfire/jobs/processing/delete [{job}] gave 204"));
    }

    [Test]
    public async Task Dashboard_RefusesClicks_WithoutItsToken()
    {
        await using var app = await AuthApp.StartAsync();
        var browser = await app.SignInAsync(AuthApp.OperatorKey);

        using var response = await browser.PostAsync("hangfire/jobs/failed/requeue", new FormUrlEncodedContent([new("jobs[]", "1")]));

        Assert.That((int)response.StatusCode, Is.EqualTo(403));
    }

    [Test]
    public async Task Audit_HoldsALine_ForEachSignInAndAct_AndNoKey()
    {
        await using var app = await AuthApp.StartAsync();
        var id = (long)(await app.SubmitAsync("a secret prompt [fault:stalled]"))["id"]!;
        var browser = await app.SignInAsync(AuthApp.OperatorKey);

        using var cancelled = await browser.PostAsync($"api/messages/{id}/cancel", null);
        using var odd = await browser.PostAsync("hangfire/jobs/actions/delete/x%0ainfo:%20forged", null);
        await AuthApp.PostFormAsync(browser, "logout", []);

        Assert.That(Audit(app), Is.EqualTo(new[]
        {
            "the operator (operator) signed in from 127.0.0.1.",
            $"the operator from 127.0.0.1: POST /api/messages/{id}/cancel gave 200.",
            "the operator from 127.0.0.1: POST /hangfire/jobs/actions/delete/x%0Ainfo:%20forged gave 403.",
            "the operator signed out from 127.0.0.1.",
        }));
        Assert.That(app.App.Log.ToString(), Does.Not.Contain(AuthApp.OperatorKey).And.Not.Contain("a secret prompt"));
    }

    [Test]
    public async Task Audit_HasTheStatusThatWasSent_WhenACommandFails()
    {
        await using var app = await AuthApp.StartAsync(configure: builder => FaultyStore.PutAround(builder.Services));
        var http = app.As(AuthApp.OperatorKey);

        foreach (var (path, status) in new[]
        {
            ("/api/messages/4242/cancel", 404), ($"/api/messages/{FaultyStore.AwayId}/cancel", 503), ("/v1/images/generations", 400),
        })
        {
            using var response = await http.PostAsync(path, AuthApp.Json("{}"));
            Assert.That((int)response.StatusCode, Is.EqualTo(status));
            Assert.That(Audit(app).Last(), Is.EqualTo($"the operator from 127.0.0.1: POST {path} gave {status}."));
            Assert.That(await response.Content.ReadAsStringAsync(), Does.Not.Contain("Nothing was changed"));
        }
    }

    [Test]
    public async Task Audit_NamesTheFiltersOfABulkCommand_AndNotTheirValues()
    {
        await using var app = await AuthApp.StartAsync();
        var browser = await app.SignInAsync(AuthApp.OperatorKey);

        using var response = await AuthApp.PostDashboardAsync(
            browser, "hangfire/commands/matching/cancel", "?show=waiting&user=someone&q=a%20secret%20prompt");

        Assert.That(Audit(app).Last(), Does.EndWith("POST /hangfire/commands/matching/cancel [show%20user%20q] gave 200."));
        Assert.That(Audit(app), Has.None.Contains("someone").And.None.Contains("secret"));
    }

    private static async Task<int> TryAsync(HttpClient browser, string key)
    {
        using var response = await AuthApp.SignInAsync(browser, key);
        return (int)response.StatusCode;
    }

    private static IEnumerable<string> Audit(AuthApp app) => app.App.Log.Of(LogLevel.Information)
        .Where(line => line.Contains($" {AuditLog.Category}: ", StringComparison.Ordinal))
        .Select(line => line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..]);

    private static string? StateOf(AuthApp app, string job)
    {
        using var connection = app.App.Services.GetRequiredService<JobStorage>().GetConnection();
        return connection.GetStateData(job)?.Name;
    }

    [GeneratedRegex("js-jobs-list-command", RegexOptions.CultureInvariant)]
    private static partial Regex Buttons { get; }
}
