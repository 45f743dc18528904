using System.Text.Json.Nodes;
using ImageQueue.Web.Startup;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>What the console shows of a log entry.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class ConsoleFormatTests
{
    private const string Time = @"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z";

    [Test]
    public async Task Production_HasOneLine_WithTimeAndScopes()
    {
        var line = await WriteAsync("Production", []);

        Assert.That(line, Does.Match($"^{Time} warn: .*Message 17.*two lines.*System.IO.IOException: gone\n$"));
    }

    [Test]
    public async Task Container_HasJson_WithTimeAndScopes()
    {
        var json = JsonNode.Parse(await WriteAsync("Production", new() { ["DOTNET_RUNNING_IN_CONTAINER"] = "true" }))!;

        Assert.That((string?)json["Timestamp"], Does.Match($"^{Time}$"));
        Assert.That(((string?)json["LogLevel"], (int?)json["Scopes"]![0]!["MessageId"]), Is.EqualTo(("Warning", 17)));
    }

    [Test]
    public async Task Development_AndSettings_KeepTheirOwn()
    {
        Assert.That(await WriteAsync("Development", []), Does.StartWith("warn: "));
        Assert.That(
            await WriteAsync("Production", new() { ["Logging:Console:FormatterName"] = "systemd" }), Does.StartWith("<4>"));
    }

    private static async Task<string> WriteAsync(string environment, Dictionary<string, string?> settings)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { EnvironmentName = environment });
        builder.Configuration.AddInMemoryCollection(settings);
        builder.AddConsoleFormat();
        await using var app = builder.Build();
        var name = app.Services.GetRequiredService<IOptions<ConsoleLoggerOptions>>().Value.FormatterName ?? ConsoleFormatterNames.Simple;
        var scopes = new LoggerExternalScopeProvider();
        using var scope = scopes.Push(new Dictionary<string, object> { ["MessageId"] = 17, ["Text"] = "Message 17" }.ToList());
        using var inner = scopes.Push("Message 17");
        await using var output = new StringWriter();
        app.Services.GetServices<ConsoleFormatter>().Single(formatter => formatter.Name == name).Write(
            new LogEntry<string>(LogLevel.Warning, "Category", default, "two\nlines", new IOException("gone"), (text, _) => text),
            scopes,
            output);
        return output.ToString();
    }
}
