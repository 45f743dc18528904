namespace ImageQueue.Core.Generation;

/// <summary>A checked picture in a temporary file, one rename away from being seen. Disposing removes it unless it was published.</summary>
public sealed class PreparedImage : IDisposable
{
    private readonly string _temporaryPath;
    private bool _isPublished;
    private bool _isDisposed;

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

    /// <summary>
    /// Renames it to its final name, over a picture that is there; readers see the old one or the new one, whole. Somebody who
    /// asked for the picture may have been quicker. Again does nothing.
    /// </summary>
    /// <exception cref="IOException">The rename failed; the temporary file is still there.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void Publish()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_isPublished) return;
        try
        {
            File.Move(_temporaryPath, Path, overwrite: true);
        }
        catch (FileNotFoundException) when (File.Exists(Path))
        {
            // ImageFiles.TryPublish.
        }

        _isPublished = true;
    }

    /// <summary>Leaves the temporary file where it is: its row is complete, and it gets its final name later.</summary>
    public void Keep() => _isPublished = true;

    /// <summary>Removes the temporary file, if it was not published. What cannot be removed now is removed at the next start.</summary>
    public void Dispose()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        if (_isPublished) return;
        try
        {
            File.Delete(_temporaryPath);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A folder that has gone or may not be written must not turn how the request ended into something else.
        }
    }
}
