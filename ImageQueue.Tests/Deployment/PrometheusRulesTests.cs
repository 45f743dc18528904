using System.Diagnostics;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Deployment;

/// <summary>The alert rules do what their unit-test file says, where promtool (Debian's package prometheus) is installed.</summary>
[Category(Categories.Process)]
internal sealed class PrometheusRulesTests
{
    private static string Folder => Path.Combine(Repository.Root, "deploy", "prometheus");

    [TestCase("check", "rules", "imagequeue.rules.yml")]
    [TestCase("test", "rules", "imagequeue.rules.test.yml")]
    public async Task Promtool_FindsNoFault(params string[] arguments)
    {
        if (FindPromtool() is not { } promtool)
        {
            Assert.Ignore("promtool is not installed.");
            return;
        }

        using var process = Process.Start(new ProcessStartInfo(promtool, arguments)
        {
            WorkingDirectory = Folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!; // It was found.
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();

        Assert.That(process.ExitCode, Is.Zero, $"{await output}{await errors}");
    }

    /// <summary>Each rule has a case in the unit test, or is a plain threshold.</summary>
    [Test]
    public async Task UnitTest_CoversTheRulesThatCombineSeries()
    {
        var tests = await File.ReadAllTextAsync(Path.Combine(Folder, "imagequeue.rules.test.yml"));

        foreach (var alert in new[] { "NotWritable", "Paused", "NoBackend", "BackendUnhealthy", "Errors" })
            Assert.That(tests, Does.Match($@"alertname: ImageQueue{alert}\n *exp_alerts:"), alert);
    }

    private static string? FindPromtool() => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "promtool")).FirstOrDefault(File.Exists);
}
