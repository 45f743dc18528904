namespace ImageQueue.Tests.Support;

/// <summary>A folder of its own, gone at the end.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("imagequeue-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
