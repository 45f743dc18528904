using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Startup;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>Each setting, wrong once: the start stops with a sentence that names it.</summary>
[Category(Categories.App)]
internal sealed partial class WrongSettingsTests
{
    private const string Backend = "Forge:Backends:0:Url";

    /// <summary>The setting, a wrong value, and what else must be set for it to matter.</summary>
    private static readonly (string Key, string Value, string[] With)[] Wrong =
    [
        ("Storage:Provider", "Oracle", []),
        ("Storage:ApplySchema", "perhaps", []),
        ("ConnectionStrings:ImageQueue", "Server=db1;Database=ImageQueue;User ID=imagequeue;Password=secret", []),
        ("ConnectionStrings:ImageQueue", "Data Source=a.db;Password=secret", []),
        ("ConnectionStrings:ImageQueue", "Data Source=x;Mode=Memory;Cache=Shared", []),
        ("ConnectionStrings:ImageQueue", "Data Source=:memory:", []),
        ("ConnectionStrings:ImageQueue", "Data Source=file:x?mode=memory", []),
        ("ConnectionStrings:ImageQueue", "Data Source=", []),
        ("ConnectionStrings:ImageQueue", "Server=db1", ["Storage:Provider=SqlServer"]),
        ("ConnectionStrings:ImageQueue", "Data Source=a;Nonsense=1", []),
        ("Images:Directory", "a\0b", []),
        ("Images:KeepFor", "00:00:01", []),
        ("Images:KeepUploadsFor", "00:00:01", []),
        ("Images:Metadata", "Some", []),
        ("Webhooks:0:Url", "chat", ["Webhooks:0:Secret=0123456789abcdef"]),
        ("Webhooks:0:Secret", "short", ["Webhooks:0:Url=https://chat.example"]),
        ("Webhooks:0:Events:0", "all", ["Webhooks:0:Url=https://chat.example", "Webhooks:0:Secret=0123456789abcdef"]),
        ("Webhooks:AllowPrivate", "maybe", []),
        ("Webhooks:Timeout", "01:00:00", []),
        ("Messages:KeepTombstonesFor", "a week", []),
        ("Forge:Backends:0:Url", "gpu1", []),
        ("Forge:Backends:0:Url", "ftp://gpu1", []),
        ("Forge:Backends:0:Password", "secret", [$"{Backend}=http://gpu1"]),
        ("Forge:Backends:0:Shared", "maybe", [$"{Backend}=http://gpu1"]),
        ("Forge:Backends:0:CertificateAuthority", "/no/such/file.pem", [$"{Backend}=https://gpu1"]),
        ("Forge:Backends:0:CertificateFingerprint", "AB:CD", [$"{Backend}=https://gpu1"]),
        ("Forge:Backends:1:Url", "http://gpu1/x/", [$"{Backend}=http://gpu1/x"]),
        ("Forge:Timeout", "0", []),
        ("Forge:TimeOuts", "00:01:00", []),
        ("Forge:StallTimeout", "never", []),
        ("Forge:PollInterval", "00:10:00", []),
        ("Forge:LivePreview", "sometimes", []),
        ("Forge:MaxAttempts", "0", []),
        ("Forge:MaxDisruptions", "0", []),
        ("Forge:LoadTimeout", "00:00:00", []),
        ("Forge:WaitForBackend", "30 days", []),
        ("Forge:Defaults:Width", "1000000", []),
        ("Forge:Defaults:Height", "65", []),
        ("Forge:Defaults:Steps", "0", []),
        ("Forge:Defaults:CfgScale", "-1", []),
        ("Forge:Defaults:DistilledCfgScale", "31", []),
        ("Forge:Models:flux:Checkpoint", "", ["Forge:Models:flux:Title=x"]),
        ("Forge:Models:flux:Width", "7", ["Forge:Models:flux:Checkpoint=c"]),
        ("Forge:Models:flux:Steps", "many", ["Forge:Models:flux:Checkpoint=c"]),
        ("Forge:Models:flux:Backends:0", "gpu9", ["Forge:Models:flux:Checkpoint=c"]),
        ("Forge:DefaultModel", "flux", []),
        ("Forge:AllowAnyCheckpoint", "ask me", []),
        ("Forge:Simulator:Enabled", "a bit", []),
        ("Forge:Simulator:SecondsPerImage", "-1", []),
        ("Queue:Order", "Random", []),
        ("Queue:MaxPendingPerUser", "0", []),
        ("Queue:MaxWorkPerUser", "1", []),
        ("Queue:MaxLength", "a lot", []),
        ("Queue:Order", "Lifo", []),
        ("Forge:MaxDisruptions", "0", []),
        ("Compatibility:OpenAi:Enabled", "perhaps", []),
        ("Compatibility:OpenAi:UnknownModels", "Guess", []),
        ("Compatibility:A1111:Enabled", "perhaps", []),
        ("Compatibility:CancelOnHangUp", "perhaps", []),
        ("Compatibility:KeepAliveAfter", "00:00:00", []),
        ("Api:Docs", "yes please", []),
        ("Push:Heartbeat", "00:00:00", []),
        ("Push:SlowestReader", "00:00:00", []),
        ("Hosting:PathBase", "apps/images/", []),
        ("Auth:ApiKeys:0:Role", "king", ["Auth:ApiKeys:0:Name=a", "Auth:ApiKeys:0:Key=0123456789abcdef0123456789abcdef"]),
        ("Auth:ApiKeys:0:KeyHash", "zz", ["Auth:ApiKeys:0:Name=a", "Auth:ApiKeys:0:Role=client"]),
        ("Auth:TokenLifetime", "00:00:00", []),
        ("Auth:SessionLifetime", "no", []),
        ("Auth:MaxFailedSignIns", "0", []),
        ("Auth:Lockout", "-00:00:01", []),
        ("Auth:AllowedOrigins:0", "anywhere", []),
        ("Auth:Proxies:0", "the proxy", []),
        ("Auth:Certificate:Path", "/no/such.pfx", []),
        ("Compatibility:OpenAi:Enabled", "maybe", []),
        ("Compatibility:OpenAi:UnknownModels", "Guess", []),
        ("Compatibility:A1111:Enabled", "maybe", []),
        ("Compatibility:CancelOnHangUp", "maybe", []),
        ("Compatibility:KeepAliveAfter", "00:00:00", []),
        ("Telemetry:Prometheus", "sometimes", []),
        ("Limits:RequestsPerKey", "0", []),
        ("Limits:RequestsPerAddress", "0", []),
        ("Limits:StreamsPerKey", "0", []),
        ("Limits:StreamsPerAddress", "0", []),
        ("Kestrel:Limits:MaxConcurrentConnections", "0", []),
        ("Kestrel:Limits:RequestHeadersTimeout", "00:00:00", []),
        ("Kestrel:Limits:MinResponseDataRate:BytesPerSecond", "-1", []),
        ("Shutdown:DrainTimeout", "02:00:00", []),
        ("Messages:Culture", "de", []),
        ("Messages:UsersInLogs", "Initials", []),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        Wrong.Select(
            wrong =>
                new TestCaseData(wrong.Key, wrong.Value, wrong.With).SetArgDisplayNames(
                    wrong.Key, wrong.Value.Replace("\0", "NUL", StringComparison.Ordinal)));

    [TestCaseSource(nameof(Cases))]
    public async Task Start_StopsWithASentence_ThatNamesTheSetting(string key, string value, string[] with)
    {
        var settings = with.Select(setting => setting.Split('=', 2)).ToDictionary(setting => setting[0], setting => (string?)setting[1]);
        settings[key] = value;
        Exception? failure = null;
        try
        {
            await using var app = await TestApp.StartAsync(settings);
        }
        catch (Exception e)
        {
            failure = e;
        }

        Assert.That(failure, Is.Not.Null, "the app has started");
        var sentence = StartFailure.SentenceOf(failure!);
        TestContext.Out.WriteLine(sentence);
        Assert.That(sentence, Is.Not.Null, $"a stack trace instead of a sentence: {failure}");
        Assert.That(sentence, Does.Contain(key.Split(':')[^1]).Or.Contain(key.Split(':')[^2]).IgnoreCase);
        Assert.That(sentence, Does.Contain(key.Split(':')[0]), "the section");
        Assert.That(sentence, Does.Not.Contain("secret"));
    }

    /// <summary>The tables of docs/configuration.md list the settings; those that take any text cannot be wrong.</summary>
    [Test]
    public void EachSettingOfTheDocument_IsWrongOnce()
    {
        string[] anyText = ["Forge:Backends:n:Name", "Forge:Models:{name}:Title", "Auth:ApiKeys:n:Name", "Webhooks:n:Secret"];
        var named = Row().Matches(File.ReadAllText(Repository.File("docs/configuration.md"))).Select(row => row.Groups["key"].Value)
            .ToList();
        var tried = Wrong.Select(
            wrong =>
                Number().Replace(wrong.Key, ":n").Replace(
                    "Models:flux", "Models:{name}", StringComparison.Ordinal)).ToHashSet(StringComparer.Ordinal);

        Assert.That(named, Has.Count.GreaterThan(30));
        Assert.That(named.Where(key => !tried.Contains(key) && !anyText.Contains(key)), Is.Empty, "settings that no test sets wrong");
    }

    [GeneratedRegex(@"^\| `(?<key>[A-Z]\w+:[^`]+)`", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex Row();

    [GeneratedRegex(@":\d+", RegexOptions.CultureInvariant)]
    private static partial Regex Number();
}
