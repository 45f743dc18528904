using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Queue;
using ImageQueue.Web;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>The real app, in this process, on a real port, with its data in a folder of its own.</summary>
internal sealed class TestApp : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly TemporaryFolder _folder;
    private readonly bool _ownsFolder;
    private bool _isDisposed;

    private TestApp(WebApplication app, TemporaryFolder folder, bool ownsFolder, LogRecorder log)
    {
        _app = app;
        _folder = folder;
        _ownsFolder = ownsFolder;
        Log = log;
        Address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        Http = new HttpClient { BaseAddress = Address };
    }

    public Uri Address { get; }

    public HttpClient Http { get; }

    public LogRecorder Log { get; }

    public IServiceProvider Services => _app.Services;

    public string ImagesFolder => Path.Combine(_folder.Path, "images");

    /// <summary>Starts the app. Images take no time unless <c>Forge:Simulator:SecondsPerImage</c> says so.</summary>
    /// <param name="settings">Settings that differ from those of a test.</param>
    /// <param name="folder">Where the data is, when an earlier app's is to be used; left alone at the end.</param>
    /// <param name="environment">Development lets this machine in without a key.</param>
    /// <param name="configure">What else is to be different.</param>
    public static async Task<TestApp> StartAsync(
        Dictionary<string, string?>? settings =
            null, TemporaryFolder? folder = null, string environment = "Development", Action<WebApplicationBuilder>? configure = null)
    {
        var ownsFolder = folder is null;
        folder ??= new TemporaryFolder();
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions
        {
            ApplicationName = "ImageQueue.Web",
            ContentRootPath = Path.Combine(Repository.Root, "ImageQueue.Web"),
            EnvironmentName = environment,
        });
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Urls"] = "http://127.0.0.1:0",
            ["ConnectionStrings:ImageQueue"] = $"Data Source={Path.Combine(folder.Path, "imagequeue.db")}",
            ["Images:Directory"] = Path.Combine(folder.Path, "images"),
            ["Forge:PollInterval"] = "00:00:00.0500000",
            ["Forge:Simulator:SecondsPerImage"] = "0",
            ["Queue:MaxWorkPerUser"] = "1000000000",
            ["Shutdown:DrainTimeout"] = "00:00:00",
        });
        builder.Configuration.AddInMemoryCollection(settings ?? []);
        var log = new LogRecorder();
        builder.Logging.ClearProviders();
        builder.Logging.AddProvider(log);
        builder.AddImageQueue();
        HangfireLog.PutInto(builder.Services);
        configure?.Invoke(builder);
        var app = builder.Build();
        HangfireLog.Follow(app.Services);
        app.UseImageQueue();
        await app.StartAsync();
        return new TestApp(app, folder, ownsFolder, log);
    }

    /// <summary>Asks for an image and expects that it is accepted.</summary>
    public async Task<JsonObject> SubmitAsync(string prompt, string conversation = "demo", string username = "ayşe", object? more = null)
    {
        var body = new JsonObject { ["username"] = username, ["prompt"] = prompt };
        if (more is not null)
        {
            foreach (var (key, value) in JsonSerializer.SerializeToNode(more)!.AsObject())
                body[key] = value?.DeepClone();
        }

        var response = await Http.PostAsJsonAsync($"api/conversations/{conversation}/images", body);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Accepted), await response.Content.ReadAsStringAsync());
        return await ReadAsync(response);
    }

    public async Task<JsonObject> GetMessageAsync(long id) => await ReadAsync(await Http.GetAsync(Invariant($"api/messages/{id}")));

    /// <summary>Waits until the message has the status.</summary>
    public async Task<JsonObject> WaitForAsync(long id, params string[] statuses)
    {
        var deadline = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var message = await GetMessageAsync(id);
            if (statuses.Contains((string?)message["extra_metadata"]!["status"]))
                return message;
            if (TimeProvider.System.GetElapsedTime(deadline) > TimeSpan.FromSeconds(60))
                Assert.Fail($"Message {id} is not {string.Join(" or ", statuses)} after a minute: {message.ToJsonString()}\n{Log}");
            await Task.Delay(20);
        }
    }

    /// <summary>Waits until Hangfire calls the message's job so.</summary>
    public async Task JobStateAsync(long id, string state)
    {
        string? last = null;
        for (var i = 0; i < 1000; i++)
        {
            var message = await Services.GetRequiredService<IMessageStore>().FindAsync(id, CancellationToken.None);
            last = message?.HangfireJobId is { } job ? Services.GetRequiredService<ImageJobs>().Find(job)?.Name : null;
            if (last == state)
                return;
            await Task.Delay(20);
        }

        Assert.Fail($"The job of message {id} is {last} and not {state}.\n{Log}");
    }

    public static async Task<JsonObject> ReadAsync(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync();
        return JsonNode.Parse(text)?.AsObject() ?? throw new InvalidOperationException($"Not a JSON object: {text}");
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        Http.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        if (_ownsFolder)
            _folder.Dispose();
    }
}
