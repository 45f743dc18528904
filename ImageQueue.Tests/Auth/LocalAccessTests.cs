using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>
/// Development lets this machine in without a key, and no caller that only looks like it; Production does not start without a key.
/// </summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class LocalAccessTests
{
    private static TestApp App { get; set; } = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        App = await TestApp.StartAsync();
        await App.SubmitAsync("bir gül");
    }

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    [TestCase("localhost", 200)]
    [TestCase("app.localhost", 200)]
    [TestCase("127.0.0.1", 200)]
    [TestCase("[::1]", 200)]
    [TestCase("evil.example", 401, Description = "DNS rebinding: a foreign name that points here.")]
    [TestCase("192.168.1.7", 401)]
    [TestCase("localhost.evil.example", 401)]
    public async Task Host_MustBeALocalName(string host, int status) =>
        Assert.That(await SendAsync(request => request.Headers.Host = host), Is.EqualTo(status));

    [TestCase("X-Forwarded-For", "127.0.0.1")]
    [TestCase("X-Forwarded-For", "203.0.113.9")]
    [TestCase("X-Forwarded-Host", "localhost")]
    [TestCase("Forwarded", "for=127.0.0.1")]
    [TestCase("X-Real-IP", "127.0.0.1")]
    [TestCase("Via", "1.1 proxy")]
    public async Task Proxy_IsNotThisMachine(string header, string value) =>
        Assert.That(await SendAsync(request => request.Headers.Add(header, value)), Is.EqualTo(401));

    [TestCase("Origin", "https://evil.example", 401)]
    [TestCase("Origin", "null", 401)]
    [TestCase("Sec-Fetch-Site", "cross-site", 401)]
    [TestCase("Sec-Fetch-Site", "same-site", 401)]
    [TestCase("Sec-Fetch-Site", "same-origin", 200)]
    [TestCase("Sec-Fetch-Site", "none", 200)]
    public async Task ForeignWebsite_IsNotLetIn(string header, string value, int status) =>
        Assert.That(await SendAsync(request => request.Headers.Add(header, value)), Is.EqualTo(status));

    [Test]
    public async Task Link_FromElsewhere_OpensThePage()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/");
        request.Headers.Add("Sec-Fetch-Site", "cross-site");
        request.Headers.Add("Sec-Fetch-Mode", "navigate");
        request.Headers.Add("Sec-Fetch-Dest", "document");

        Assert.That((int)(await App.Http.SendAsync(request)).StatusCode, Is.EqualTo(200));
    }

    [TestCase("wrong")]
    [TestCase("iqw_wrong")]
    public async Task WrongKey_IsRefused_EvenHere(string key) =>
        Assert.That(await SendAsync(request => request.Headers.Authorization = new("Bearer", key)), Is.EqualTo(401));

    [Test]
    public async Task Simulator_IsForThisMachineOnly()
    {
        Assert.That(await SendAsync(_ => { }, "simulator/stats"), Is.EqualTo(200));
        Assert.That(await SendAsync(request => request.Headers.Host = "127.0.0.1", "simulator/stats"), Is.EqualTo(200));
        Assert.That(await SendAsync(request => request.Headers.Host = "evil.example", "simulator/stats"), Is.EqualTo(404));
        Assert.That(await SendAsync(request => request.Headers.Add("X-Forwarded-For", "127.0.0.1"), "simulator/stats"), Is.EqualTo(404));
        Assert.That(await SendAsync(request => request.Headers.Add("Origin", "https://evil.example"), "simulator/stats"), Is.EqualTo(404));
    }

    [Test]
    public async Task Keys_AreEnforced_InDevelopmentToo()
    {
        await using var app = await AuthApp.StartAsync(environment: "Development");

        Assert.That((int)(await app.As(null).GetAsync("api/queue")).StatusCode, Is.EqualTo(401));
        Assert.That((int)(await app.Client().GetAsync("api/queue")).StatusCode, Is.EqualTo(200));
        using var request = new HttpRequestMessage(HttpMethod.Get, "api/queue");
        request.Headers.Add("X-Api-Key", AuthApp.ClientKey);
        Assert.That((int)(await app.As(null).SendAsync(request)).StatusCode, Is.EqualTo(200));
    }

    [Test]
    public void Production_DoesNotStart_WithoutKeys() => Assert.That(
        () => TestApp.StartAsync(new() { ["Forge:Simulator:Enabled"] = "true" }, environment: "Production"),
        Throws.TypeOf<OptionsValidationException>()
            .With.Message.Contains("Auth:ApiKeys holds no key")
            .And.Message.Contains("key new --role client"));

    /// <summary>Without a proxy that is configured, what a proxy would say means nothing.</summary>
    [Test]
    public async Task ForwardedHeaders_AreNotBelieved_UnlessConfigured()
    {
        await using var app = await AuthApp.StartAsync(
            headers: new() { ["X-Forwarded-Proto"] = "https", ["X-Forwarded-For"] = "203.0.113.9" });

        using var response = await AuthApp.SignInAsync(app.Browser(), AuthApp.OperatorKey);

        Assert.That(response.Headers.GetValues("Set-Cookie"), Has.None.Contains("secure"));
        Assert.That(app.App.Log.ToString(), Does.Contain("signed in from 127.0.0.1").And.Not.Contain("203.0.113.9"));
    }

    [Test]
    public async Task ForwardedHeaders_AreBelieved_OfAConfiguredProxy()
    {
        await using var app = await AuthApp.StartAsync(
            new() { ["Auth:Proxies:0"] = "127.0.0.0/8" },
            new()
            {
                ["X-Forwarded-Proto"] = "https",
                ["X-Forwarded-For"] = "198.51.100.7, 203.0.113.9",
                ["X-Forwarded-Host"] = "images.example",
            });

        using var response = await AuthApp.SignInAsync(app.Browser(), AuthApp.OperatorKey);

        Assert.That(response.Headers.GetValues("Set-Cookie"), Has.All.Contains("secure"));
        Assert.That(app.App.Log.ToString(), Does.Contain("signed in from 203.0.113.9"), "the proxy's value, and not the client's");
        Assert.That(response.Headers.Contains("Strict-Transport-Security"), Is.True);
    }

    private static async Task<int> SendAsync(Action<HttpRequestMessage> change, string path = "api/queue")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        change(request);
        using var response = await App.Http.SendAsync(request);
        return (int)response.StatusCode;
    }
}
