using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Deployment;

/// <summary>
/// What is deployed, as it is deployed: the output of <c>dotnet publish</c>, in Production, started from another folder by a user
/// who may not write the program's own.
/// </summary>
[Category(Categories.Process)]
internal sealed partial class PublishedTests
{
    private static readonly string Key = ApiKeys.Create(Roles.Operator);

    private PublishedProgram _program = null!; // All set before the tests.
    private string _work = null!;
    private Dictionary<string, string> _settings = null!;
    private AppProcess _app = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _program = await PublishedProgram.PublishAsync();
        _work = _program.CreateWritable("work");
        _settings = new()
        {
            ["Urls"] = "http://127.0.0.1:0",
            ["AllowedHosts"] = "images.example;127.0.0.1",
            ["Forge__Simulator__Enabled"] = "true",
            ["Forge__Simulator__SecondsPerImage"] = "0",
            ["Auth__ApiKeys__0__Name"] = "operator",
            ["Auth__ApiKeys__0__Role"] = Roles.Operator,
            ["Auth__ApiKeys__0__KeyHash"] = Convert.ToHexString(ApiKeys.Hash(Key)),
        };
        _app = await AppProcess.StartAsync(_program.StartFrom(_work, _settings));
        _app.Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Key);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
        _program?.Dispose();
    }

    /// <summary>Else the other tests here would prove nothing.</summary>
    [Test]
    public async Task ProgramFolder_CannotBeWritten()
    {
        await using var touch = AppProcess.Launch(
            PublishedProgram.StartUnprivileged(
                "touch", Path.Combine(_program.Folder, "x"), Path.Combine(_program.Folder, "appsettings.json")));

        Assert.That(await touch.ExitAsync(), Is.Not.Zero, touch.Output);
        Assert.That(File.Exists(Path.Combine(_program.Folder, "x")), Is.False);
    }

    /// <summary>Settings, styles, scripts: all that lies beside the program.</summary>
    [TestCase("chat/base.css", "text/css")]
    [TestCase("login.css", "text/css")]
    [TestCase("favicon.svg", "image/svg+xml")]
    [TestCase("login", "text/html")]
    [TestCase("hangfire", "text/html")]
    [TestCase("hangfire/images", "text/html")]
    [TestCase("openapi/v1.json", "application/json")]
    [TestCase("health/live", null)]
    [TestCase("health/ready", null)]
    public async Task Get_IsAnswered(string path, string? type)
    {
        using var response = await _app.Http.GetAsync(path);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), _app.Output);
        if (type is not null)
            Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo(type));
    }

    /// <summary>All that a page names, and what its scripts import.</summary>
    [TestCase("")]
    [TestCase("hangfire")]
    public async Task Page_HasItsFiles(string page)
    {
        var html = await _app.Http.GetStringAsync(page);
        var files = PageFile().Matches(html).Select(file => file.Groups["path"].Value).Where(path => path.StartsWith('/')).Distinct()
            .ToList();

        Assert.That(files, Has.Some.Contains("css").And.Some.Contains("js"), html);
        foreach (var file in files)
        {
            using var response = await _app.Http.GetAsync(file);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), file);
            if (response.Content.Headers.ContentType?.MediaType != "text/javascript")
                continue;
            foreach (var import in Import().Matches(await response.Content.ReadAsStringAsync()).Select(
                import => import.Groups["path"].Value))
            {
                using var imported = await _app.Http.GetAsync(new Uri(new Uri(_app.Http.BaseAddress!, file), import));
                Assert.That(imported.StatusCode, Is.EqualTo(HttpStatusCode.OK), $"{file} imports {import}");
            }
        }
    }

    /// <summary>The whole path, and what it leaves is in the folder that it was started from.</summary>
    [Test]
    public async Task Request_GetsItsImage_IntoTheWorkingDirectory()
    {
        var message = await _app.SubmitAsync("a lighthouse");

        message = await _app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);

        var bytes = await _app.Http.GetByteArrayAsync((string)message["extra_metadata"]!["image_url"]!);
        using var image = SKBitmap.Decode(bytes);
        Assert.That(image?.Width, Is.EqualTo(256));
        Assert.That(Directory.GetFiles(Path.Combine(_work, "data", "images"), "*.png"), Is.Not.Empty);
        Assert.That(Directory.GetFiles(Path.Combine(_work, "data", "keys")), Is.Not.Empty);
        Assert.That(File.Exists(Path.Combine(_work, "data", "imagequeue.db")));
        Assert.That(Directory.Exists(Path.Combine(_program.Folder, "data")), Is.False);
    }

    /// <summary>For a host that can only run a command. It knows the address, and a name that is served, from the settings.</summary>
    [TestCase("health")]
    [TestCase("health", "ready")]
    public async Task HealthCommand_Succeeds_WhileTheProgramRuns(params string[] words)
    {
        var settings = new Dictionary<string, string>(_settings) { ["Urls"] = _app.Http.BaseAddress!.AbsoluteUri };
        await using var health = AppProcess.Launch(_program.StartFrom("/", settings, words));

        Assert.That(await health.ExitAsync(), Is.Zero, health.Output);
    }

    /// <summary>No app answers; unknown arguments.</summary>
    [TestCase(1, "does not answer", "health")]
    [TestCase(2, "Usage:", "health", "perhaps")]
    public async Task HealthCommand_Fails_WithASentence(int exitCode, string says, params string[] words)
    {
        var settings = new Dictionary<string, string>(_settings) { ["Urls"] = "http://+:1" };
        await using var health = AppProcess.Launch(_program.StartFrom("/", settings, words));

        Assert.That(await health.ExitAsync(), Is.EqualTo(exitCode), health.Output);
        Assert.That(health.Output, Does.Contain(says).And.Not.Contain("   at "));
    }

    /// <summary>The unit in deploy/systemd says Type=notify: what waits for the service goes on when it listens.</summary>
    [Test]
    public async Task Start_TellsSystemd_WhenItListens_AndWhenItStops()
    {
        var path = Path.Combine(_work, "notify");
        using var systemd = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        systemd.Bind(new UnixDomainSocketEndPoint(path));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, File.GetUnixFileMode(path) | UnixFileMode.OtherWrite);
        var folder = _program.CreateWritable("service");

        await using var app = await AppProcess.StartAsync(_program.StartFrom(folder, new(_settings) { ["NOTIFY_SOCKET"] = path }));
        Assert.That(await ReceiveAsync(systemd), Does.Contain("READY=1"), app.Output);
        app.SendSigterm();
        Assert.That(await ReceiveAsync(systemd), Does.Contain("STOPPING=1"), app.Output);

        Assert.That(await app.ExitAsync(), Is.Zero, app.Output);
    }

    private static async Task<string> ReceiveAsync(Socket systemd)
    {
        var buffer = new byte[1024];
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        return Encoding.UTF8.GetString(buffer, 0, await systemd.ReceiveAsync(buffer, patience.Token));
    }

    /// <summary>The settings beside the program are read by its commands as well: "schema check" finds a SQLite file named there.</summary>
    [Test]
    public async Task SchemaCommand_ReadsTheSettings_FromAnotherFolder()
    {
        await using var check = AppProcess.Launch(_program.StartFrom("/", [], "schema", "check"));

        Assert.That(await check.ExitAsync(), Is.EqualTo(1));
        Assert.That(check.Output, Does.Contain("names no database"), "Data Source=data/imagequeue.db, of appsettings.json");
    }

    /// <summary>Started where nothing can be written, it says so and what to do.</summary>
    [Test]
    public async Task Start_StopsWithASentence_WhereNothingCanBeWritten()
    {
        await using var app = AppProcess.Launch(_program.StartFrom(_program.Folder, _settings));

        Assert.That(await app.ExitAsync(), Is.EqualTo(1), app.Output);
        Assert.That(
            app.Output,
            Does.Contain("ImageQueue cannot start.").And.Contain($"{_program.Folder}/data").And.Contain("cannot be written")
                .And.Contain("ConnectionStrings:ImageQueue"));
        Assert.That(app.Output, Does.Not.Contain("   at "));
    }

    [GeneratedRegex("""(?:src|href)="(?<path>[^"#]+)""", RegexOptions.CultureInvariant)]
    private static partial Regex PageFile();

    [GeneratedRegex("""(?:from|import)\s*'(?<path>\.[^']+)';""", RegexOptions.CultureInvariant)]
    private static partial Regex Import();
}
