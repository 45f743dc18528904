using ImageQueue.Web.Auth;
using ImageQueue.Web.Startup;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>Keys as they are made, written into the settings, and read.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class AuthOptionsTests
{
    private const string Plain = "a-long-plain-key-1";

    [TestCase("Name", "", "Auth:ApiKeys:0:Name must say")]
    [TestCase("Role", "admin", "Auth:ApiKeys:0:Role must be client, operator or operator-read, not \"admin\"")]
    [TestCase("Key", "", "Auth:ApiKeys:0 needs either KeyHash or Key")]
    [TestCase("Key", "short", "at least 16 characters")]
    [TestCase("Key", "iqw_looks-like-a-token", "not begin with iqw_")]
    [TestCase("Key", "ğ-is-not-plain-ascii", "plain ASCII")]
    [TestCase("KeyHash", "00", "needs either")]
    public void Validate_NamesTheSetting_When(string field, string value, string sentence) =>
        Assert.That(Failures(new() { ["Auth:ApiKeys:0:" + field] = value }), Has.Some.Contains(sentence));

    [Test]
    public void Validate_RefusesAHashThatIsNone() =>
        Assert.That(
            Failures(new() { ["Auth:ApiKeys:0:Key"] = null, ["Auth:ApiKeys:0:KeyHash"] = new string('x', 64) }),
            Has.Some.Contains("64 hex digits"));

    [Test]
    public void Validate_RefusesOneKeyOfTwoRoles() => Assert.That(
        Failures(
            new()
            {
                ["Auth:ApiKeys:1:Name"] = "b",
                ["Auth:ApiKeys:1:Role"] = "operator",
                ["Auth:ApiKeys:1:KeyHash"] = Convert.ToHexString(ApiKeys.Hash(Plain)),
            }),
        Has.Some.Contains("one key for a and b"));

    [TestCase("Auth:Proxies:0", "proxy1", "Auth:Proxies holds proxy1")]
    [TestCase("Auth:AllowedOrigins:0", "https://chat.example/", "Auth:AllowedOrigins holds")]
    [TestCase("Auth:AllowedOrigins:0", "*", "Auth:AllowedOrigins holds")]
    public void Validate_RefusesAddressesThatAreNone(string key, string value, string sentence) =>
        Assert.That(Failures(new() { [key] = value }), Has.Some.Contains(sentence));

    [Test]
    public void Validate_TakesWhatIsRight() => Assert.That(
        Failures(
            new()
            {
                ["Auth:Proxies:0"] = "10.0.0.0/8",
                ["Auth:Proxies:1"] = "::1",
                ["Auth:AllowedOrigins:0"] = "https://chat.example:8443",
            }), Is.Empty);

    /// <summary>What the command prints is what the settings take; the key is seen once and found again.</summary>
    [TestCase("client")]
    [TestCase("operator")]
    [TestCase("operator-read")]
    public void KeyNew_PrintsTheKeyOnce_AndTheSettingsThatLetItIn(string role)
    {
        using var output = new StringWriter();

        Assert.That(KeyCommand.Run(["new", "--role", role, "--name", "chat"], output, TextWriter.Null), Is.Zero);

        var lines = output.ToString().Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var key = lines.Single(line => line.StartsWith("iq_", StringComparison.Ordinal));
        Assert.That(key, Does.StartWith($"iq_{role}_").And.Length.GreaterThan(50));
        var settings = lines.Where(line => line.StartsWith("Auth__", StringComparison.Ordinal)).Select(
            line => line.Replace("__n__", "__0__", StringComparison.Ordinal).Replace("__", ":", StringComparison.Ordinal).Split('=', 2));
        var options = Bind(settings.ToDictionary(pair => pair[0], string? (pair) => pair[1]));
        Assert.That(new AuthOptionsValidator(Production).Validate(null, options).Failures ?? [], Is.Empty);
        var found = Keys(options).Find(key);
        Assert.That((found?.Name, found?.Role), Is.EqualTo(("chat", role)));
        Assert.That(Keys(options).Find(key[..^1]), Is.Null);
    }

    [TestCase("new")]
    [TestCase("new", "--role", "admin")]
    [TestCase("list")]
    public void KeyCommand_SaysHow_WhenItIsNotUnderstood(params string[] words)
    {
        using var errors = new StringWriter();

        Assert.That(KeyCommand.Run(words, TextWriter.Null, errors), Is.EqualTo(2));
        Assert.That(errors.ToString(), Does.Contain("key new --role client|operator|operator-read"));
    }

    /// <summary>A key is replaced without a moment in which none is good.</summary>
    [Test]
    public void Find_KnowsSeveralKeysOfARole()
    {
        var options = Bind(new()
        {
            ["Auth:ApiKeys:0:Name"] = "old",
            ["Auth:ApiKeys:0:Role"] = "client",
            ["Auth:ApiKeys:0:Key"] = Plain,
            ["Auth:ApiKeys:1:Name"] = "new",
            ["Auth:ApiKeys:1:Role"] = "client",
            ["Auth:ApiKeys:1:KeyHash"] = Convert.ToHexString(ApiKeys.Hash("another-key-of-them")),
        });

        Assert.That(Keys(options).Find(Plain)?.Name, Is.EqualTo("old"));
        Assert.That(Keys(options).Find("another-key-of-them")?.Name, Is.EqualTo("new"));
        Assert.That(Keys(options).Find(""), Is.Null);
    }

    private static IHostEnvironment Production { get; } = Mock.Of<IHostEnvironment>(
        environment => environment.EnvironmentName == "Production");

    private static ApiKeys Keys(AuthOptions options) => new(Options.Create(options), NullLogger<ApiKeys>.Instance);

    private static IEnumerable<string> Failures(Dictionary<string, string?> settings)
    {
        var all =
            new Dictionary<string, string?>
            {
                ["Auth:ApiKeys:0:Name"] = "a",
                ["Auth:ApiKeys:0:Role"] = "client",
                ["Auth:ApiKeys:0:Key"] = Plain,
            };
        foreach (var (key, value) in settings)
            all[key] = value;
        return new AuthOptionsValidator(Production).Validate(null, Bind(all)).Failures ?? [];
    }

    private static AuthOptions Bind(Dictionary<string, string?> settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings).Build().GetSection(AuthOptions.Section).Get<AuthOptions>() ?? new();
}
