using System.Net;
using System.Net.Http.Json;
using ImageQueue.Core.Forge;
using ImageQueue.Web.Simulator;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Simulator;

/// <summary>
/// One simulated image server: a Kestrel of its own on a port of its own, with its own kind, pace, faults and statistics. As many
/// of them as a test wants run side by side in its process, so that a bad one can stand beside good ones.
/// </summary>
/// <remarks>
/// <code>
/// await using var good = await SimulatorServer.StartAsync(millisecondsPerImage: 200);
/// await using var bad = await SimulatorServer.StartAsync(profile: SimulatorProfile.A1111);
/// await using var app = await TestApp.StartAsync(SimulatorServer.Settings(bad, good));
/// bad.Break(SimulatorFaults.Cuda);      // Until it is mended or restarted; also by a word in one prompt: "[fault:cuda]".
/// await bad.KillAsync();                // Gone at once, as by kill -9: port closed, connections reset, work lost.
/// await bad.RestartAsync();             // A new process at the same address: well, idle, no task remembered.
/// Assert.That(bad.Stats.Started, Is.Empty);
/// </code>
/// Statistics are the test's and outlive the server's process; faults and tasks are the process's.
/// </remarks>
internal sealed class SimulatorServer : IAsyncDisposable
{
    private readonly SimulatorProfile _profile;
    private readonly double _secondsPerImage;
    private readonly TimeProvider _time;
    private readonly SimulatorStats _stats = new();
    private WebApplication? _app; // Null while the process is dead.
    private int? _millisecondsPerImage;

    private SimulatorServer(SimulatorProfile profile, double secondsPerImage, int? millisecondsPerImage, TimeProvider time)
    {
        (_profile, _secondsPerImage, _millisecondsPerImage, _time) = (profile, secondsPerImage, millisecondsPerImage, time);
        Client = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
    }

    public HttpClient Client { get; }

    /// <summary>What to set <c>Forge:Backends:n:Url</c> to; it never changes.</summary>
    public Uri Address => Client.BaseAddress!; // Set by the first start.

    /// <summary>The process that runs.</summary>
    public ForgeSimulator Simulator =>
        (_app ?? throw new InvalidOperationException("The server has been killed.")).Services.GetRequiredService<ForgeSimulator>();

    /// <summary>
    /// Its requests, over all its processes: which tasks arrived, which got the lock and in which order
    /// (<see cref="StatsSnapshot.Started"/>; <see cref="ReceivedRequest.StartedNumber"/> is comparable between servers), how each ended,
    /// the most in flight at once, the tasks that interrupts hit, and calls to endpoints that it does not have.
    /// </summary>
    public StatsSnapshot Stats => _stats.Snapshot();

    /// <summary>Time for one image whatever its size, from the next image on; null: by <c>secondsPerImage</c> and size.</summary>
    public int? MillisecondsPerImage
    {
        get => _millisecondsPerImage;
        set
        {
            _millisecondsPerImage = value;
            if (_app is not null)
                Pace();
        }
    }

    /// <summary>
    /// Stands before the server, as a proxy does: gets each call, with the prompt of a call that generates, and a function that lets the
    /// server answer. Null: nothing does.
    /// </summary>
    public Func<HttpContext, string?, Func<Task>, Task>? Proxy { get; set; }

    /// <summary>Starts one.</summary>
    /// <param name="secondsPerImage">Time for an image of the default size; a smaller one takes its share.</param>
    /// <param name="time">The clock that generates; the system's.</param>
    /// <param name="profile">The kind of server; Forge.</param>
    /// <param name="millisecondsPerImage">Time for any image, instead.</param>
    public static async Task<SimulatorServer> StartAsync(
        double secondsPerImage = 0, TimeProvider? time = null, SimulatorProfile? profile = null, int? millisecondsPerImage = null)
    {
        var server = new SimulatorServer(
            profile ?? SimulatorProfile.Forge, secondsPerImage, millisecondsPerImage, time ?? TimeProvider.System);
        await server.StartProcessAsync("http://127.0.0.1:0");
        return server;
    }

    /// <summary>The settings of an app that has these servers and no other; the n-th is named after its kind and n.</summary>
    public static Dictionary<string, string?> Settings(params ReadOnlySpan<SimulatorServer> servers)
    {
        var settings = new Dictionary<string, string?> { ["Forge:Simulator:Enabled"] = "false" };
        for (var i = 0; i < servers.Length; i++)
        {
            settings[FormattableString.Invariant($"Forge:Backends:{i}:Url")] = servers[i].Address.AbsoluteUri;
            settings[FormattableString.Invariant($"Forge:Backends:{i}:Name")] =
                FormattableString.Invariant($"{servers[i]._profile.Name}-{i}");
        }

        return settings;
    }

    /// <summary>From now on this goes wrong with each request (or with so many), until <see cref="Mend"/> or a restart.</summary>
    /// <param name="fault">One of <see cref="SimulatorFaults.Known"/>.</param>
    /// <param name="times">How many requests it hits; null: all.</param>
    public void Break(string fault, int? times = null) => Simulator.Faults.Set(fault, times);

    /// <summary>Ends all faults; a hung task continues.</summary>
    public void Mend() => Simulator.Faults.Clear();

    /// <summary>
    /// Dies as by <c>kill -9</c>: the port is closed and connections are reset at once, and whatever was generated is lost.
    /// </summary>
    public async Task KillAsync()
    {
        if (_app is not { } app)
            return;
        _app = null;
        // Cancelled: no connection is waited for.
        var closed = app.Services.GetRequiredService<IServer>().StopAsync(new CancellationToken(canceled: true));
        app.Lifetime.StopApplication(); // Ends the generating, or its requests would be waited for.
        await closed;
        await app.DisposeAsync();
    }

    /// <summary>
    /// A new process at the same address: killed first where it still runs. Faults, tasks and the loaded model are forgotten.
    /// </summary>
    public async Task RestartAsync()
    {
        await KillAsync();
        await StartProcessAsync(Address.GetLeftPart(UriPartial.Authority));
    }

    /// <summary>Stops gracefully: closes the port, then ends what is in flight.</summary>
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await KillAsync();
    }

    private async Task StartProcessAsync(string url)
    {
        // Empty: no files, no log, and a start within milliseconds.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(url);
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(_time);
        builder.Services.AddSingleton(_profile);
        builder.Services.AddSingleton(_stats);
        builder.Services.AddForgeSimulator();
        builder.Services.Configure<ForgeOptions>(options => options.Simulator.SecondsPerImage = _secondsPerImage);
        _app = builder.Build();
        _app.Use(BeforeAsync);
        _app.UseRouting();
        _app.MapForgeSimulator();
        Pace();
        await _app.StartAsync();
        Client.BaseAddress ??= new Uri(_app.Urls.Single() + SimulatorEndpoints.Path + "/");
    }

    private async Task BeforeAsync(HttpContext context, RequestDelegate next)
    {
        if (Proxy is not { } proxy)
        {
            await next(context);
            return;
        }

        string? prompt = null;
        if (context.Request.Path.Value is { } path
            && (path.EndsWith("/txt2img", StringComparison.Ordinal) || path.EndsWith("/img2img", StringComparison.Ordinal)))
        {
            var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body);
            prompt = JsonElement.Parse(body.ToArray()).GetProperty("prompt").GetString();
            context.Request.Body = body;
            body.Position = 0;
        }

        await proxy(context, prompt, () => next(context));
    }

    private void Pace() =>
        Simulator.TimePerImage = _millisecondsPerImage is { } milliseconds ? TimeSpan.FromMilliseconds(milliseconds) : null;

    /// <summary>Asks for a small image.</summary>
    public Task<HttpResponseMessage> GenerateAsync(
        string prompt =
            "bir kedi", string? task = null, int width = 64, int height = 64, int steps = 4, long seed = 1, object? overrides = null) =>
        Client.PostAsJsonAsync(
            "sdapi/v1/txt2img",
            new
            {
                prompt,
                width,
                height,
                steps,
                seed,
                sampler_name = "Euler",
                scheduler = "Simple",
                force_task_id = task,
                override_settings = overrides ?? new { },
            });

    public static async Task<JsonElement> GeneratedAsync(Task<HttpResponseMessage> asked)
    {
        using var response = await asked;
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        return await response.Content.ReadFromJsonAsync<JsonElement>();
    }

    public Task<JsonElement> GetAsync(string path) => Client.GetFromJsonAsync<JsonElement>(path);

    public async Task<JsonElement> TaskProgressAsync(string? task, bool preview = false, int seen = -1)
    {
        using var response = await Client.PostAsJsonAsync(
            "internal/progress", new { id_task = task, id_live_preview = seen, live_preview = preview });
        response.EnsureSuccessStatusCode();
        return await response.Content.ReadFromJsonAsync<JsonElement>();
    }

    public async Task InterruptAsync()
    {
        using var response = await Client.PostAsync("sdapi/v1/interrupt", null);
        response.EnsureSuccessStatusCode();
    }

    public async Task<(HttpStatusCode Status, JsonElement Body)> SendAsync(HttpMethod method, string path, string? json = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
        {
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        }

        using var response = await Client.SendAsync(request);
        return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
    }

    public static SKBitmap Decode(JsonElement image) =>
        SKBitmap.Decode(image.GetBytesFromBase64()) ?? throw new AssertionException("The bytes are no image.");

    public static JsonElement Info(JsonElement answer)
    {
        using var info = JsonDocument.Parse(answer.GetProperty("info").GetString()!);
        return info.RootElement.Clone();
    }
}
