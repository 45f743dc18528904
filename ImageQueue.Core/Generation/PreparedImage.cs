namespace ImageQueue.Core.Generation;

/// <summary>A checked picture in a temporary file, one rename away from being seen. Disposing removes it unless it was published.</summary>
public sealed class PreparedImage : IDisposable
{
    private readonly string _temporaryPath;
    private bool _isOver;
    private bool _isPublished;

    internal PreparedImage(string temporaryPath, string path, int width, int height)
    {
        _temporaryPath = temporaryPath;
        Path = path;
        Width = width;
        Height = height;
    }

    /// <summary>Where <see cref="Publish"/> puts it.</summary>
    public string Path { get; }

    /// <summary>Pixels.</summary>
    public int Width { get; }

    /// <summary>Pixels.</summary>
    public int Height { get; }

    /// <summary>Renames it to its final name, over a picture that is there; readers see the old one or the new one, whole. Again does nothing.</summary>
    /// <exception cref="IOException">The rename failed; the temporary file is still there.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void Publish()
    {
        // Again after a commit that failed: the file is in its place already.
        if (_isPublished)
            return;
        ObjectDisposedException.ThrowIf(_isOver, this);
        File.Move(_temporaryPath, Path, overwrite: true);
        _isOver = _isPublished = true;
    }

    /// <summary>Removes the temporary file, if it was not published.</summary>
    public void Dispose()
    {
        if (_isOver) return;
        _isOver = true;
        File.Delete(_temporaryPath);
    }
}
