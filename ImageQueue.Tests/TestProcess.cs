using Microsoft.Playwright;
using NUnit.Framework;

// Most tests wait for a server, a process or a browser: fixtures run side by side, more of them than there are cores.
[assembly: Parallelizable(ParallelScope.Fixtures)]
[assembly: LevelOfParallelism(4)]

namespace ImageQueue.Tests;

/// <summary>What all apps of all tests share.</summary>
[SetUpFixture]
internal sealed class TestProcess
{
    /// <summary>
    /// Each app, and each process that a test starts, would watch the settings files; a Linux user may have 128 such watches.
    /// </summary>
    [OneTimeSetUp]
    public void WatchNoSettings() => Environment.SetEnvironmentVariable("DOTNET_hostBuilder__reloadConfigOnChange", "false");

    [OneTimeTearDown]
    public Task CloseBrowserAsync() => Support.ChatBrowser.CloseAsync();

    /// <summary>A page on a busy machine may take its time.</summary>
    [OneTimeSetUp]
    public void WaitPatiently() => Assertions.SetDefaultExpectTimeout(30_000);
}
