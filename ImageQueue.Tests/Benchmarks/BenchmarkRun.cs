using ImageQueue.Tests.Benchmarks.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>Prints the table when the last benchmark is done, and leaves it as <c>benchmarks.md</c> beside the tests.</summary>
[SetUpFixture]
internal sealed class BenchmarkRun
{
    [OneTimeTearDown]
    public async Task PrintAsync()
    {
        if (BenchmarkTable.Print() is not { } table)
            return;
        var path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "benchmarks.md");
        await File.WriteAllTextAsync(path, table);
        // The error stream: the console shows it whatever its verbosity is.
        await TestContext.Error.WriteLineAsync($"{Environment.NewLine}{table}{Environment.NewLine}Also in {path}");
    }
}
