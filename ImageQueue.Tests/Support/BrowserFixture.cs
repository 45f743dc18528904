using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>A fixture whose tests drive the browser. A test during which a page reports an error fails.</summary>
internal abstract class BrowserFixture
{
    /// <summary>Set before any test runs.</summary>
    private protected ChatBrowser Browser { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task OpenBrowserAsync() => Browser = await ChatBrowser.StartAsync();

    [TearDown]
    public void NoErrors()
    {
        var errors = Browser.Errors.Where(error => !IsExpected(error)).ToArray();
        Browser.Errors.Clear();
        Assert.That(errors, Is.Empty);
    }

    /// <summary>What a test brings about on purpose, and a page cannot keep Chromium from reporting.</summary>
    private protected virtual bool IsExpected(string error) => false;
}
