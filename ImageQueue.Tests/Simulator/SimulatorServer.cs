using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using ImageQueue.Core.Forge;
using ImageQueue.Web.Simulator;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Simulator;

/// <summary>The simulator on a port of its own, and nothing else.</summary>
internal sealed class SimulatorServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private SimulatorServer(WebApplication app)
    {
        _app = app;
        Simulator = app.Services.GetRequiredService<ForgeSimulator>();
        Client = new HttpClient { BaseAddress = new Uri(app.Urls.Single() + "/simulator/"), Timeout = TimeSpan.FromSeconds(30) };
    }

    public HttpClient Client { get; }

    /// <summary>What to set <c>Forge:Backends:n:Url</c> to.</summary>
    public Uri Address => Client.BaseAddress!; // Set when made.

    public ForgeSimulator Simulator { get; }

    public static async Task<SimulatorServer> StartAsync(double secondsPerImage = 0, TimeProvider? time = null)
    {
        // Empty: no files, no log, and a start within milliseconds.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(time ?? TimeProvider.System);
        builder.Services.AddForgeSimulator();
        builder.Services.Configure<ForgeOptions>(options => options.Simulator.SecondsPerImage = secondsPerImage);
        var app = builder.Build();
        app.MapForgeSimulator();
        await app.StartAsync();
        return new SimulatorServer(app);
    }

    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    /// <summary>Asks for a small picture.</summary>
    public Task<HttpResponseMessage> PaintAsync(
        string prompt = "bir kedi", string? task = null, int width = 64, int height = 64, int steps = 4, long seed = 1, object? overrides = null) =>
        Client.PostAsJsonAsync(
            "sdapi/v1/txt2img",
            new { prompt, width, height, steps, seed, sampler_name = "Euler", scheduler = "Simple", force_task_id = task, override_settings = overrides ?? new { } });

    public static async Task<JsonElement> PaintedAsync(Task<HttpResponseMessage> asked)
    {
        using var response = await asked;
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        return await response.Content.ReadFromJsonAsync<JsonElement>();
    }

    public Task<JsonElement> GetAsync(string path) => Client.GetFromJsonAsync<JsonElement>(path);

    public async Task<JsonElement> TaskProgressAsync(string? task, bool preview = false, int seen = -1)
    {
        using var response = await Client.PostAsJsonAsync("internal/progress", new { id_task = task, id_live_preview = seen, live_preview = preview });
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

    /// <summary>Asks until it is so; the simulator's work is not the test's own.</summary>
    public static async Task UntilAsync(Func<Task<bool>> isSo, string what)
    {
        for (var i = 0; i < 1000; i++)
        {
            if (await isSo())
            {
                return;
            }

            await Task.Delay(10);
        }

        Assert.Fail($"Ten seconds passed, and still not: {what}");
    }

    public static SKBitmap Decode(JsonElement image) =>
        SKBitmap.Decode(image.GetBytesFromBase64()) ?? throw new AssertionException("The bytes are no image.");

    public static JsonElement Info(JsonElement answer)
    {
        using var info = JsonDocument.Parse(answer.GetProperty("info").GetString()!);
        return info.RootElement.Clone();
    }
}
