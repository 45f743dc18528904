using System.Net;
using System.Net.WebSockets;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using NUnit.Framework;

namespace ImageQueue.Tests.Push;

/// <summary>Streams and hub connections while the app stops.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class StoppingTests
{
    private Action _whenStopping = () => { };

    [SetUp]
    public void SetUp() => _whenStopping = () => { };

    [TestCase("GET", "api/conversations/demo/events")]
    [TestCase("GET", "api/events")]
    [TestCase("POST", "hubs/images/negotiate?negotiateVersion=1")]
    public async Task Connect_Gets503WithRetryAfter_OnceTheAppStops(string method, string path)
    {
        await using var app = await StartAsync();
        HttpResponseMessage? answer = null;
        using var http = new HttpClient { BaseAddress = app.Address };
        _whenStopping = () =>
            answer = http.Send(new HttpRequestMessage(new HttpMethod(method), path), HttpCompletionOption.ResponseHeadersRead);

        await app.DisposeAsync();

        Assert.That(answer, Is.Not.Null, "the app has answered");
        using var body = new StreamReader(answer!.Content.ReadAsStream());
        Assert.Multiple(() =>
        {
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(answer.Headers.RetryAfter?.Delta, Is.GreaterThan(TimeSpan.Zero));
            Assert.That((string?)JsonNode.Parse(body.ReadToEnd())!["code"], Is.EqualTo("stopping"));
        });
    }

    /// <summary>SignalR has closed its connections by then and closes none that opens later; Kestrel would wait for it.</summary>
    [Test]
    public async Task Stop_Completes_WhenAClientReconnectsMeanwhile()
    {
        await using var app = await StartAsync();
        var hub = new UriBuilder(app.Address) { Scheme = "ws", Path = "hubs/images" }.Uri;
        using var socket = new ClientWebSocket();
        _whenStopping = () =>
            Assert.That(() => socket.ConnectAsync(hub, CancellationToken.None).Wait(TimeSpan.FromSeconds(10)), Throws.Exception);

        await app.DisposeAsync(); // Throws when a hosted service has not stopped in time.

        Assert.That(app.Log.Of(LogLevel.Error), Is.Empty);
    }

    [Test]
    public async Task Stop_ClosesStreamsAndHubConnections_WithoutAnError()
    {
        await using var app = await StartAsync();
        using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events");
        await using var hub = new HubConnectionBuilder().WithUrl(new Uri(app.Address, "hubs/images")).WithAutomaticReconnect().Build();
        await hub.StartAsync();
        await hub.InvokeAsync("Watch", "demo");
        using var silent = new ClientWebSocket(); // Never says hello.
        await silent.ConnectAsync(new UriBuilder(app.Address) { Scheme = "ws", Path = "hubs/images" }.Uri, CancellationToken.None);

        await app.DisposeAsync();

        Assert.That(async () => await events.ReadAsync(), Throws.InstanceOf<EndOfStreamException>().Or.InstanceOf<IOException>());
        Assert.That(app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    /// <summary>
    /// Reading a setting early registers <see cref="_whenStopping"/> before SignalR's own callback, so that it runs after it.
    /// </summary>
    private Task<TestApp> StartAsync() => TestApp.StartAsync(configure: builder => builder.Services.AddOptions<AuthOptions>()
        .PostConfigure<IHostApplicationLifetime>((_, lifetime) => lifetime.ApplicationStopping.Register(() => _whenStopping())));
}
