using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ImageQueue.Web;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>The real app as a process of its own, to be killed. However a test ends, disposing ends the process.</summary>
internal sealed partial class AppProcess : IAsyncDisposable
{
    private const int Sigterm = 15;

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource<Uri> _listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private AppProcess(Process process) => _process = process;

    /// <summary>The dotnet that runs the tests.</summary>
    public static string DotNet { get; } = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet"
        ? path
        : "dotnet";

    public HttpClient Http { get; } = new() { Timeout = TimeSpan.FromSeconds(30) };

    public int Id => _process.Id;

    /// <summary>Both streams, so far.</summary>
    public string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    /// <summary>Starts the app and waits until it listens.</summary>
    /// <param name="folder">Where its data is.</param>
    /// <param name="forge">A Forge to generate with; null for the app's own simulator.</param>
    /// <param name="settings">Settings that differ from those of a test.</param>
    public static Task<AppProcess> StartAsync(string folder, Uri? forge, Dictionary<string, string>? settings = null) =>
        ListeningAsync(Launch(folder, forge, settings));

    /// <summary>Starts the app in a way of the caller's own, and waits until it listens.</summary>
    public static Task<AppProcess> StartAsync(ProcessStartInfo start) => ListeningAsync(Launch(start));

    /// <summary>Starts an app that is not expected to come up.</summary>
    public static AppProcess Launch(string folder, Uri? forge, Dictionary<string, string>? settings = null) =>
        Launch(StartInfo(folder, forge, settings));

    /// <summary>How the app is started.</summary>
    public static ProcessStartInfo StartInfo(string folder, Uri? forge, Dictionary<string, string>? settings = null)
    {
        // The app's own output, beside the tests': dotnet exec, so that the process is the app and not its launcher.
        var start = new ProcessStartInfo(DotNet)
        {
            ArgumentList = { "exec", typeof(WebServices).Assembly.Location },
            WorkingDirectory = Path.Combine(Repository.Root, "ImageQueue.Web"),
        };
        var all = new Dictionary<string, string>
        {
            ["ASPNETCORE_ENVIRONMENT"] = "Development",
            ["ASPNETCORE_URLS"] = "http://127.0.0.1:0",
            ["ConnectionStrings__ImageQueue"] = $"Data Source={Path.Combine(folder, "imagequeue.db")}",
            ["Images__Directory"] = Path.Combine(folder, "images"),
            ["Forge__PollInterval"] = "00:00:00.0500000",
            ["Queue__MaxPendingPerUser"] = "100000",
            ["DOTNET_gcServer"] = "0",
            ["DOTNET_TieredPGO"] = "0", // As of the tests themselves.
        };
        if (forge is not null)
            all["Forge__Backends__0__Url"] = forge.AbsoluteUri;
        foreach (var (key, value) in all.Concat(settings ?? []))
            start.Environment[key] = value;
        return start;
    }

    /// <summary>Starts the app, or one of its commands, in a way of the caller's own.</summary>
    public static AppProcess Launch(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = start.RedirectStandardError = true;
        start.StandardOutputEncoding = start.StandardErrorEncoding = Encoding.UTF8;
        start.UseShellExecute = false;
        var app = new AppProcess(new Process { StartInfo = start });
        app._process.OutputDataReceived += (_, line) => app.Read(line.Data);
        app._process.ErrorDataReceived += (_, line) => app.Read(line.Data);
        app._process.Start();
        app._process.BeginOutputReadLine();
        app._process.BeginErrorReadLine();
        return app;
    }

    private static async Task<AppProcess> ListeningAsync(AppProcess app)
    {
        try
        {
            app.Http.BaseAddress = await app._listening.Task.WaitAsync(TimeSpan.FromSeconds(90));
            return app;
        }
        catch (Exception e)
        {
            await app.DisposeAsync();
            throw new InvalidOperationException($"The app did not start:\n{app.Output}", e);
        }
    }

    /// <summary>SIGKILL: nothing in the process runs any more.</summary>
    public async Task KillAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>SIGTERM, as a container's host sends it.</summary>
    /// <returns>How long the process took to end.</returns>
    public async Task<TimeSpan> StopAsync()
    {
        var started = Stopwatch.GetTimestamp();
        SendSigterm();
        await ExitAsync();
        return Stopwatch.GetElapsedTime(started);
    }

    public void SendSigterm()
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("Windows has no SIGTERM; run this on Linux or macOS.");
        Assert.That(Signal(_process.Id, Sigterm), Is.Zero, "kill failed");
    }

    /// <summary>Waits for the end.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> ExitAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            await _process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"The process has not ended after a minute:\n{Output}");
        }

        return _process.ExitCode;
    }

    /// <summary>Asks for a small image.</summary>
    /// <returns>The message; null when the app was gone before it answered.</returns>
    public async Task<JsonObject?> TrySubmitAsync(string prompt, string conversation = "demo")
    {
        try
        {
            using var response = await Http.PostAsJsonAsync(
                $"api/conversations/{conversation}/images", new { username = "ayşe", prompt, width = 256, height = 256, steps = 8 });
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Accepted), await response.Content.ReadAsStringAsync());
            return await ReadAsync(response);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException)
        {
            return null;
        }
    }

    public async Task<JsonObject> SubmitAsync(string prompt) =>
        await TrySubmitAsync(prompt) ?? throw new InvalidOperationException($"The app is gone:\n{Output}");

    public async Task<JsonObject> GetAsync(string path)
    {
        using var response = await Http.GetAsync(path);
        return await ReadAsync(response);
    }

    /// <summary>Every message of a conversation.</summary>
    public async Task<List<JsonObject>> ListAsync(string conversation = "demo")
    {
        var all = new List<JsonObject>();
        for (long? after = 0; after is not null;)
        {
            var page = await GetAsync(
                string.Create(CultureInfo.InvariantCulture, $"api/conversations/{conversation}/messages?after={after}&limit=200"));
            all.AddRange(page["messages"]!.AsArray().Select(message => message!.AsObject()));
            after = (long?)page["next"];
        }

        return all;
    }

    /// <summary>Waits until a message has one of the statuses.</summary>
    public async Task<JsonObject> WaitForAsync(long id, params string[] statuses)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            var message = await GetAsync(string.Create(CultureInfo.InvariantCulture, $"api/messages/{id}"));
            if (statuses.Contains((string?)message["extra_metadata"]?["status"]))
                return message;
            if (Stopwatch.GetElapsedTime(started) > TimeSpan.FromSeconds(90))
                Assert.Fail($"Message {id} is not {string.Join(" or ", statuses)} in time: {message.ToJsonString()}\n{Output}");
            await Task.Delay(25);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await KillAsync();
        _process.Dispose();
    }

    private static async Task<JsonObject> ReadAsync(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync();
        return JsonNode.Parse(text)?.AsObject() ?? throw new InvalidOperationException($"Not a JSON object: {text}");
    }

    private void Read(string? line)
    {
        if (line is null)
            return;
        lock (_output)
            _output.AppendLine(line);
        if (NowListening().Match(line) is { Success: true } match)
            _listening.TrySetResult(new Uri(match.Groups[1].Value));
    }

    [GeneratedRegex("Now listening on: (http://\\S+)", RegexOptions.CultureInvariant)]
    private static partial Regex NowListening();

#pragma warning disable SYSLIB1054 // LibraryImport would make the whole project unsafe for one call of two numbers.
    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Signal(int process, int signal);
#pragma warning restore SYSLIB1054
}
