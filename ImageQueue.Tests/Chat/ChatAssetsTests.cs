using System.Net;
using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Chat;
using NUnit.Framework;

namespace ImageQueue.Tests.Chat;

/// <summary>The page's address, and its files: small on the way, and asked for once.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ChatAssetsTests
{
    private static TestApp App { get; set; } = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => App = await TestApp.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    [Test]
    public async Task Files_AreCompressed_AndKeptForEver_UnderAnAddressOfTheirContent()
    {
        var page = await App.Http.GetStringAsync("");
        var addresses = Regex.Matches(page, "(?:src|href)=\"/(assets/[^\"]+)\"").Select(match => match.Groups[1].Value).Distinct().ToList();
        Assert.That(addresses, Has.Count.EqualTo(3 + ChatPage.Sheets.Count).And.All.Match("^assets/[0-9a-f]{16}/"));
        Assert.That(page, Does.Not.Contain("href=\"/chat/").And.Not.Contain("src=\"/chat/"));

        var modules = (await App.Http.GetStringAsync(addresses.Single(address => address.EndsWith("app.js", StringComparison.Ordinal))))
            .Split('\n').Select(line => Regex.Match(line, "from '\\./(.*)'")).Where(match => match.Success)
                .Select(match => match.Groups[1].Value);
        var folder = addresses[0][..addresses[0].IndexOf('/', 7)];
        foreach (var address in addresses.Concat(modules.Select(module => $"{folder}/chat/{module}")))
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address) { Headers = { { "Accept-Encoding", "br" } } };
            using var response = await App.Http.SendAsync(request);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), address);
            Assert.That(response.Headers.CacheControl?.ToString(), Is.EqualTo("public, max-age=31536000, immutable"), address);
            Assert.That(response.Content.Headers.ContentEncoding, Is.EqualTo(new[] { "br" }), address);
        }
    }

    [TestCase("lang")]
    [TestCase("LANG")]
    public async Task Page_LeadsOnce_ToItsChosenLanguage(string name) =>
        Assert.That((await App.Http.GetAsync($"?{name}=tr&demo=1")).RequestMessage!.RequestUri!.Query, Is.EqualTo("?demo=1"));

    [Test]
    public async Task Files_AreAskedForAnew_UnderTheirOwnNames() =>
        Assert.That((await App.Http.GetAsync("chat/base.css")).Headers.CacheControl?.NoCache, Is.True);

    [Test]
    public async Task Files_AreNotThere_UnderAnotherContentsAddress() =>
        Assert.That((await App.Http.GetAsync("assets/0123456789abcdef/chat/base.css")).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
}
