using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>A folder of its own, gone at the end.</summary>
/// <param name="isLarge">
/// Then it is on the disk, as a benchmark's is. Others are in memory where there is enough: no test depends on what a commit costs, and
/// each would wait milliseconds for the disk.
/// </param>
internal sealed class TemporaryFolder(bool isLarge = false) : IDisposable
{
    private const long Enough = 2L << 30;

    private static readonly string? Memory =
        Directory.Exists("/dev/shm") && new DriveInfo("/dev/shm") is { DriveFormat: "tmpfs", AvailableFreeSpace: > Enough }
            ? "/dev/shm"
            : null;

    public string Path { get; } = Create(isLarge || IsBenchmark ? null : Memory);

    private static bool IsBenchmark =>
        TestContext.CurrentContext.Test.ClassName?.Contains(".Benchmarks.", StringComparison.Ordinal) == true;

    public void Dispose() => Directory.Delete(Path, recursive: true);

    private static string Create(string? parent)
    {
        if (parent is null || OperatingSystem.IsWindows())
            return Directory.CreateTempSubdirectory("imagequeue-").FullName;
        const UnixFileMode mine = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        return Directory.CreateDirectory(System.IO.Path.Combine(parent, $"imagequeue-{Guid.NewGuid():N}"), mine).FullName;
    }
}
