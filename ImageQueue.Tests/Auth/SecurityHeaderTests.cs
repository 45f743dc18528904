using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Hangfire.Dashboard;
using ImageQueue.Web.Auth;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>The headers of every answer.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed partial class SecurityHeaderTests
{
    private static AuthApp App { get; set; } = null!; // Set before any test runs.

    private static string Image { get; set; } = "";

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        App = await AuthApp.StartAsync();
        var id = (long)(await App.SubmitAsync())["id"]!;
        Image = (string)(await App.WaitForAsync(id, MessageStatus.Complete))["extra_metadata"]!["image_url"]!;
    }

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    [TestCase("/")]
    [TestCase("/login")]
    [TestCase("/chat/app.js")]
    [TestCase("/api/queue")]
    [TestCase("/api/messages/4242")]
    [TestCase("/api/nothing")]
    [TestCase("/hangfire")]
    [TestCase("/hangfire/nothing")]
    [TestCase("/health/ready")]
    [TestCase("/openapi/v1.json")]
    public async Task Answer_HasThem(string path)
    {
        foreach (var caller in new[] { App.As(null), App.As(AuthApp.OperatorKey) })
        {
            using var response = await caller.GetAsync(path);

            Assert.That(response.Headers.GetValues("X-Content-Type-Options"), Is.EqualTo(new[] { "nosniff" }));
            Assert.That(response.Headers.GetValues("Referrer-Policy"), Is.EqualTo(new[] { "same-origin" }));
            var policy = response.Headers.GetValues("Content-Security-Policy").Single();
            Assert.That(policy, Does.Contain("default-src 'none'").And.Contain("frame-ancestors 'none'").And.Contain("base-uri 'none'"));
            Assert.That(
                policy.Replace("style-src-attr 'unsafe-inline'", "", StringComparison.Ordinal),
                Does.Not.Contain("unsafe"),
                "and the attribute styles are the dashboard's alone");
            Assert.That(
                policy.Contains("unsafe", StringComparison.Ordinal), Is.EqualTo(path.StartsWith("/hangfire", StringComparison.Ordinal)));
            Assert.That(response.Headers.Contains("Server"), Is.False);
        }
    }

    [TestCase("/api/queue")]
    [TestCase("/api/messages/1")]
    [TestCase("/api/messages/4242")]
    public async Task Json_IsKeptInNoCache(string path)
    {
        using var response = await App.Client().GetAsync(path);

        Assert.That(response.Headers.CacheControl?.NoStore, Is.True);
    }

    [Test]
    public async Task Image_IsKeptInPrivateCachesOnly()
    {
        using var response = await App.Client().GetAsync(Image);

        Assert.That(
            response.Headers.CacheControl?.ToString(), Does.Contain("private").And.Contain("max-age=31536000").And.Not.Contain("public"));
    }

    [Test]
    public async Task Page_MayComeFromAnotherOrigin_OnlyWhereItIsAllowed()
    {
        await using var app = await AuthApp.StartAsync(new() { ["Auth:AllowedOrigins:0"] = "https://chat.example" });
        await app.SubmitAsync();
        var token = await app.TokenAsync();

        foreach (var (origin, allowed) in new[] { ("https://chat.example", true), ("https://evil.example", false) })
        {
            var page = app.As(token);
            page.DefaultRequestHeaders.Add("Origin", origin);
            using var read = await page.GetAsync($"api/conversations/{AuthApp.Conversation}/messages");
            using var hub = await page.PostAsync("hubs/images/negotiate?negotiateVersion=1", null);

            Assert.That(
                read.Headers.TryGetValues("Access-Control-Allow-Origin", out var value) ? value.Single() : null,
                Is.EqualTo(allowed ? origin : null));
            Assert.That((int)hub.StatusCode, Is.EqualTo(allowed ? 200 : 403));
        }
    }

    /// <summary>The hash in the policy is of what Hangfire's script writes: an update of Hangfire's that changes it fails here.</summary>
    [Test]
    public void ChartStyleHash_IsOfWhatTheScriptWrites()
    {
        // Else the test fails here.
        using var stream = typeof(DashboardRoutes).Assembly.GetManifestResourceStream("Hangfire.Dashboard.Content.js.Chart.min.js")!;
        using var reader = new StreamReader(stream);
        var style = "/* Chart.js */\n" + ChartStyle.Match(reader.ReadToEnd()).Groups[1].Value;

        Assert.That(
            $"sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(style)))}", Is.EqualTo(SecurityHeaders.ChartStyleHash));
    }

    [GeneratedRegex("default:\"(@keyframes chartjs[^\"]*)\"", RegexOptions.CultureInvariant)]
    private static partial Regex ChartStyle { get; }
}
