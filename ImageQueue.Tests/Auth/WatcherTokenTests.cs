using System.Net.Http.Json;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Push;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>What a watcher's token is good for, and what looks like one and is none.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class WatcherTokenTests
{
    private static AuthApp App { get; set; } = null!; // All set before any test runs.

    private static long Message { get; set; }

    private static string Image { get; set; } = "";

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        App = await AuthApp.StartAsync(new() { ["Limits:RequestsPerAddress"] = "10000" });
        Message = (long)(await App.SubmitAsync())["id"]!;
        Image = (string)(await App.WaitForAsync(Message, MessageStatus.Complete))["extra_metadata"]!["image_url"]!;
    }

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    private static ITimeLimitedDataProtector Protector(string purpose = WatcherTokens.Purpose) =>
        App.App.Services.GetRequiredService<IDataProtectionProvider>().CreateProtector(purpose).ToTimeLimitedDataProtector();

    private static string Payload(string conversation = AuthApp.Conversation, string username = AuthApp.Owner) =>
        JsonSerializer.Serialize(new WatcherToken(conversation, username));

    private static IEnumerable<TestCaseData> BadTokens()
    {
        yield return Case("truncated", async () => (await App.TokenAsync())[..^5]);
        yield return Case("one character changed", async () =>
        {
            var token = (await App.TokenAsync()).ToCharArray();
            token[token.Length / 2] = token[token.Length / 2] == 'A' ? 'B' : 'A';
            return new string(token);
        });
        yield return Case(
            "forged",
            () => Task.FromResult(WatcherTokens.Prefix + Convert.ToBase64String("""{"ConversationId":"sohbet","Username":"ayşe"}"""u8)));
        yield return Case("nothing but its beginning", () => Task.FromResult(WatcherTokens.Prefix));
        yield return Case(
            "expired",
            () => Task.FromResult(WatcherTokens.Prefix + Protector().Protect(Payload(), TimeProvider.System.GetUtcNow().AddSeconds(-1))));
        yield return Case(
            "made for another purpose",
            () => Task.FromResult(WatcherTokens.Prefix + Protector("ImageQueue.Other").Protect(Payload(), TimeSpan.FromHours(1))));
        yield return Case("made by another ImageQueue", async () =>
        {
            await using var other = await AuthApp.StartAsync();
            return await other.TokenAsync();
        });

        static TestCaseData Case(string name, Func<Task<string>> token) => new TestCaseData(token).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(BadTokens))]
    public async Task Token_Is401Everywhere_When(Func<Task<string>> make)
    {
        var token = await make();

        foreach (var path in Paths())
        {
            Assert.That(
                (int)(await App.As(token).GetAsync(path, HttpCompletionOption.ResponseHeadersRead)).StatusCode, Is.EqualTo(401), path);
            Assert.That(
                (int)(await App.As(null).GetAsync(
                    $"{path}?access_token={Uri.EscapeDataString(token)}", HttpCompletionOption.ResponseHeadersRead))
                    .StatusCode,
                Is.EqualTo(401),
                path);
        }

        Assert.That((int)(await App.As(token).PostAsync($"api/messages/{Message}/cancel", null)).StatusCode, Is.EqualTo(401));
    }

    /// <summary>The answer does not tell another user's message from a missing one.</summary>
    [Test]
    public async Task Token_FindsNothing_OfAnotherConversation()
    {
        var stranger = App.As(await App.TokenAsync("another", "mehmet"));

        foreach (var path in Paths())
            Assert.That((int)(await stranger.GetAsync(path, HttpCompletionOption.ResponseHeadersRead)).StatusCode, Is.EqualTo(404), path);

        var theirs = await TestApp.ReadAsync(await stranger.GetAsync($"api/messages/{Message}"));
        var missing = await TestApp.ReadAsync(await stranger.GetAsync("api/messages/424242"));
        Assert.That(
            ((string?)theirs["detail"])?.Replace($"/{Message},", "/424242,", StringComparison.Ordinal),
            Is.EqualTo((string?)missing["detail"]));
        Assert.That(theirs.Select(member => member.Key), Is.EqualTo(missing.Select(member => member.Key)));
    }

    /// <summary>A token for a conversation that does not exist yet; then another user writes its first message.</summary>
    [Test]
    public async Task Token_FindsNothing_WhenTheConversationBecameAnotherUsers()
    {
        var watcher = App.As(await App.TokenAsync("new", "mehmet"));
        await App.SubmitAsync(conversation: "new", username: "ayşe");

        Assert.That((int)(await watcher.GetAsync("api/conversations/new/messages")).StatusCode, Is.EqualTo(404));
        Assert.That(
            (int)(await App.Client().PostAsJsonAsync("api/conversations/new/tokens", new { username = "mehmet" })).StatusCode,
            Is.EqualTo(403));
    }

    /// <summary>The token was made before the first message, and that message belongs to another user.</summary>
    [Test]
    public async Task Streams_End_WhenTheConversationBecomesAnotherUsers()
    {
        var token = await App.TokenAsync("early", "mehmet");
        using var events = await SseReader.OpenAsync(App.As(token), "api/conversations/early/events");
        await using var hub = new HubConnectionBuilder()
            .WithUrl(
                new Uri(App.App.Address, "hubs/images"),
                options => options.AccessTokenProvider = () => Task.FromResult<string?>(token)).Build();
        var closed = new TaskCompletionSource();
        var received = 0;
        hub.Closed += _ => Task.FromResult(closed.TrySetResult());
        hub.On<object>(ImagesHub.EventName, _ => received++);
        await hub.StartAsync();
        await hub.InvokeAsync("Watch", "early");

        await App.SubmitAsync(conversation: "early", username: "ayşe");

        Assert.That(async () => await events.ReadAsync(), Throws.InstanceOf<EndOfStreamException>().Or.InstanceOf<IOException>());
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(received, Is.Zero);
    }

    [TestCase("{0}?access_token={1}")]
    public async Task Key_InTheAddress_Is401(string format)
    {
        foreach (var key in new[] { AuthApp.ClientKey, AuthApp.OperatorKey })
        {
            foreach (var path in new[] { $"api/conversations/{AuthApp.Conversation}/events", Image.TrimStart('/') })
            {
                var address = string.Format(CultureInfo.InvariantCulture, format, path, key);
                using var response = await App.As(null).GetAsync(address, HttpCompletionOption.ResponseHeadersRead);
                Assert.That((int)response.StatusCode, Is.EqualTo(401), path);
            }
        }
    }

    [TestCase("""{"username":" "}""", 422)]
    [TestCase("""{}""", 422)]
    [TestCase("""{"user":"x"}""", 400)]
    public async Task Tokens_AreRefused_When(string body, int status) =>
        Assert.That((int)(await App.Client().PostAsync("api/conversations/c/tokens", AuthApp.Json(body))).StatusCode, Is.EqualTo(status));

    /// <summary>In the address only where browsers cannot do otherwise.</summary>
    [Test]
    public async Task Token_InTheAddress_IsForEventsHubAndImagesOnly()
    {
        var query = $"?access_token={Uri.EscapeDataString(await App.TokenAsync())}";

        Assert.That((int)(await App.As(null).GetAsync(Image + query)).StatusCode, Is.EqualTo(200));
        Assert.That(
            (int)(await App.As(null).GetAsync(
                $"api/conversations/{AuthApp.Conversation}/events{query}", HttpCompletionOption.ResponseHeadersRead))
                .StatusCode,
            Is.EqualTo(200));
        Assert.That(
            (int)(await App.As(null).PostAsync($"hubs/images/negotiate{query}&negotiateVersion=1", null)).StatusCode, Is.EqualTo(200));
        Assert.That((int)(await App.As(null).GetAsync($"api/messages/{Message}{query}")).StatusCode, Is.EqualTo(401));
        Assert.That((int)(await App.As(null).PostAsync($"api/messages/{Message}/cancel{query}", null)).StatusCode, Is.EqualTo(401));
    }

    [Test]
    public async Task Hub_ChecksTheToken_AtEachWatch()
    {
        await using var hub = await ConnectAsync(App, await App.TokenAsync());

        await hub.InvokeAsync("Watch", AuthApp.Conversation);
        Assert.That(() => hub.InvokeAsync("Watch", "another"), Throws.TypeOf<HubException>().With.Message.Contains("another not found"));
        await App.SubmitAsync(conversation: "elsewhere", username: "mehmet");
        Assert.That(
            () => hub.InvokeAsync("Watch", "elsewhere"), Throws.TypeOf<HubException>().With.Message.Contains("elsewhere not found"));
    }

    /// <summary>An open stream does not outlive what it was let in with.</summary>
    [Test]
    public async Task Streams_End_WhenTheTokenExpires()
    {
        await using var app = await AuthApp.StartAsync(new() { ["Auth:TokenLifetime"] = "00:00:02" });
        await app.SubmitAsync();
        var token = await app.TokenAsync();
        await using var hub = await ConnectAsync(app, token);
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        hub.Closed += _ =>
        {
            closed.SetResult();
            return Task.CompletedTask;
        };
        await using var events = await app.As(token).GetStreamAsync($"api/conversations/{AuthApp.Conversation}/events");

        await events.CopyToAsync(Stream.Null).WaitAsync(TimeSpan.FromSeconds(30));
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(30));

        // Streams end in the token's last second: ASP.NET Core keeps whole seconds of it (AuthenticationProperties.ExpiresUtc).
        await Until.TrueAsync(
            async () =>
                (int)(await app.As(token).GetAsync($"api/conversations/{AuthApp.Conversation}/messages"))
                    .StatusCode == 401, "the token is good no more");
    }

    /// <summary>Data-protection keys are kept: tokens and cookies survive a restart.</summary>
    [Test]
    public async Task TokenAndCookie_GoOn_AfterARestart()
    {
        using var folder = new TemporaryFolder();
        string token;
        await using (var first = await AuthApp.StartAsync(folder: folder))
        {
            await first.SubmitAsync();
            token = await first.TokenAsync();
        }

        await using var second = await AuthApp.StartAsync(folder: folder);

        Assert.That(
            (int)(await second.As(token).GetAsync($"api/conversations/{AuthApp.Conversation}/messages")).StatusCode, Is.EqualTo(200));
        var keys = Directory.GetFiles(Path.Combine(folder.Path, "keys"));
        Assert.That(keys, Has.Length.EqualTo(1), "the same key");
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(
                File.GetUnixFileMode(Path.Combine(folder.Path, "keys")),
                Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));
        }

        Assert.That(second.App.Log.Of(LogLevel.Warning), Is.Empty);
    }

    private static async Task<HubConnection> ConnectAsync(AuthApp app, string token)
    {
        var hub = new HubConnectionBuilder()
            .WithUrl(
                new Uri(app.App.Address, ImagesHub.Path), options => options.AccessTokenProvider = () => Task.FromResult<string?>(token))
            .Build();
        await hub.StartAsync();
        return hub;
    }

    private static IEnumerable<string> Paths() =>
        [
            $"api/messages/{Message}",
            $"api/conversations/{AuthApp.Conversation}/messages",
            $"api/conversations/{AuthApp.Conversation}/events",
            Image.TrimStart('/')];
}
