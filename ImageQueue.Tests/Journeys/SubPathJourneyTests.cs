using System.Text.Json.Nodes;
using System.Threading.Channels;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;
using Yarp.ReverseProxy.Transforms;

namespace ImageQueue.Tests.Journeys;

/// <summary>Chat page, dashboard, API and live push behind a proxy (YARP) that serves them at <c>/apps/images/</c>.</summary>
/// <param name="stripsIt">Whether it removes the path and says so in <c>X-Forwarded-Prefix</c>, or keeps it.</param>
[TestFixture(true)]
[TestFixture(false)]
[Category(Categories.Process)]
internal sealed class SubPathJourneyTests(bool stripsIt) : BrowserFixture
{
    private const string Base = "/apps/images";

    private AuthApp _app = null!; // All set before any test runs.
    private WebApplication _proxy = null!;
    private HttpClient _http = null!;

    /// <summary>Chromium calls a refusal an error.</summary>
    private protected override bool IsExpected(string error) => error.Contains("401", StringComparison.Ordinal);

    private Uri Address => new($"{_proxy.Urls.Single()}{Base}/");

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await AuthApp.StartAsync(
            new() { ["Auth:Proxies:0"] = "127.0.0.1", ["Hosting:PathBase"] = stripsIt ? "" : Base, ["Api:Docs"] = "true" });
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddHttpForwarder();
        _proxy = builder.Build();
        _proxy.Urls.Add("http://127.0.0.1:0");
        _proxy.MapForwarder($"{Base}/{{**rest}}", _app.App.Address.AbsoluteUri, transforms =>
        {
            transforms.AddXForwarded();
            if (stripsIt)
                transforms.AddPathRemovePrefix(Base).AddRequestHeader("X-Forwarded-Prefix", Base, append: false);
        });
        await _proxy.StartAsync();
        _http = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = Address };
        _http.DefaultRequestHeaders.Authorization = new("Bearer", AuthApp.ClientKey);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        _http?.Dispose();
        if (_proxy is not null)
            await _proxy.DisposeAsync();
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [Test]
    public async Task Operator_SignsIn_GeneratesAnImage_AndFollowsTheDashboardsLinks()
    {
        await using var context = await Browser.OpenAsync(_app.App, new() { BaseURL = Address.AbsoluteUri });
        var page = await context.NewPageAsync();
        await page.GotoAsync("hangfire");
        Assert.That(new Uri(page.Url).PathAndQuery, Is.EqualTo($"{Base}/login?return=%2Fapps%2Fimages%2Fhangfire"));
        await page.GetByTestId("key").FillAsync(AuthApp.OperatorKey);
        await page.GetByTestId("sign-in").ClickAsync();
        await page.WaitForURLAsync($"**{Base}/hangfire", new() { WaitUntil = WaitUntilState.Commit });

        await page.GotoAsync("./");
        await page.GetByTestId("name-input").FillAsync("ayşe");
        await page.GetByTestId("name-submit").ClickAsync();
        await page.GetByTestId("prompt").FillAsync("bir gül");
        await page.GetByTestId("send").ClickAsync();
        var image = page.GetByTestId("image");
        await Assertions.Expect(image).ToHaveJSPropertyAsync("naturalWidth", 512); // The thumbnail, which live push has brought.
        Assert.That(new Uri(await image.EvaluateAsync<string>("image => image.src")).AbsolutePath, Does.StartWith($"{Base}/images/flux_"));
        await AssertLinksAsync(page);

        foreach (var path in new[] { "hangfire", "hangfire/images?show=complete", "hangfire/backends", "hangfire/servers" })
        {
            await page.GotoAsync(path);
            await AssertLinksAsync(page);
        }

        await page.GotoAsync("hangfire");
        await page.GetByText("Healthy backends").ClickAsync();
        await page.WaitForURLAsync($"**{Base}/hangfire/backends");
        await page.GotoAsync("hangfire/images?show=complete");
        await page.Locator("table a[href*='/hangfire/images/']").First.ClickAsync();
        await Assertions.Expect(page.Locator(".iq-figure img")).ToBeVisibleAsync();
        await AssertLinksAsync(page);
    }

    [Test]
    public async Task Api_LinksAndPushes_BeginWithThePath()
    {
        using var events = await SseReader.OpenAsync(_http, "api/conversations/sse/events");
        await using var hub = new HubConnectionBuilder()
            .WithUrl(new Uri(Address, "hubs/images"), options => options.Headers["Authorization"] = $"Bearer {AuthApp.ClientKey}")
            .Build();
        var pushed = Channel.CreateUnbounded<JsonObject>();
        hub.On<JsonObject>("ImageProgress", progress => pushed.Writer.TryWrite(progress));
        await hub.StartAsync();
        await hub.InvokeAsync("Watch", "sse");

        using var submitted = await _http.PostAsync(
            "api/conversations/sse/images", AuthApp.Json("""{"username":"ayşe","prompt":"bir gül","width":64,"height":64,"steps":1}"""));
        var location = submitted.Headers.Location!.OriginalString;
        Assert.That(location, Does.Match($"^{Base}/api/messages/\\d+$"));

        var bySse = (await events.ReadUntilAsync(IsComplete))[^1];
        JsonObject byHub;
        do
            byHub = await pushed.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
        while (!IsComplete(byHub));
        var stored = await TestApp.ReadAsync(await _http.GetAsync(new Uri(Address, location)));
        var url = (string)stored["extra_metadata"]!["image_url"]!;
        Assert.That(url, Does.StartWith($"{Base}/images/flux_"));
        Assert.That(((string?)bySse["image_url"], (string?)byHub["image_url"]), Is.EqualTo((url, url)));
        using (var file = await _http.GetAsync(new Uri(Address, url)))
            Assert.That(file.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/png"));

        var description = await TestApp.ReadAsync(await _http.GetAsync("openapi/v1.json"));
        Assert.That((string?)description["servers"]![0]!["url"], Is.EqualTo(Base));

        static bool IsComplete(JsonObject progress) => (string?)progress["status"] == MessageStatus.Complete;
    }

    /// <summary>Every address of this origin in the page begins with the path.</summary>
    private static async Task AssertLinksAsync(IPage page)
    {
        var links = await page.EvaluateAsync<string[]>(
            """
            () => [...document.querySelectorAll('a[href], link[href], img[src], script[src], form[action]')]
              .map(one => one.href?.baseVal ?? one.href ?? one.src ?? one.action).filter(url => url.startsWith(location.origin))
              .map(url => new URL(url).pathname)
            """);
        Assert.That(links, Is.Not.Empty);
        Assert.That(links.Where(link => !link.StartsWith($"{Base}/", StringComparison.Ordinal) && link != Base), Is.Empty, page.Url);
    }
}
