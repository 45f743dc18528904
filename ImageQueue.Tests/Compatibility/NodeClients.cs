using System.Diagnostics;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Compatibility;

/// <summary>Runs the clients of <c>clients/package.json</c>, installed from npm once; skips where Node is missing.</summary>
internal static class NodeClients
{
    private static readonly Lazy<Task<string?>> Installed = new(InstallAsync);

    private static string Folder => Path.Combine(Repository.Root, "ImageQueue.Tests", "Compatibility", "clients");

    /// <summary>What a script prints.</summary>
    public static async Task<JsonNode> RunAsync(string script, params string[] arguments) =>
        JsonNode.Parse(await RunToolAsync(script, arguments))!;

    /// <summary>The same as text.</summary>
    public static async Task<string> RunToolAsync(string script, params string[] arguments)
    {
        if (await Installed.Value is { } reason)
            Assert.Ignore(reason);
        var (code, output, errors) = await StartAsync("node", [script, .. arguments]);
        Assert.That(code, Is.Zero, output + errors);
        return output;
    }

    private static async Task<string?> InstallAsync()
    {
        try
        {
            var (code, _, errors) = await StartAsync(
                "npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]);
            return code == 0 ? null : $"The npm packages of {Folder} could not be installed: {errors}";
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "Install Node.js 20 or later with npm to test with real clients.";
        }
    }

    private static async Task<(int Code, string Output, string Errors)> StartAsync(string program, string[] arguments)
    {
        var start =
            new ProcessStartInfo(program, arguments)
            {
                WorkingDirectory = Folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await errors);
    }
}
