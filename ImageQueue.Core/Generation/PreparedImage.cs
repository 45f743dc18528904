namespace ImageQueue.Core.Generation;

/// <summary>
/// A checked image and its thumbnail in temporary files, one rename away from being seen. Disposing removes them unless they were
/// published.
/// </summary>
public sealed class PreparedImage : IDisposable
{
    private readonly (string Temporary, string Path) _image;
    private readonly (string Temporary, string Path) _thumbnail;
    private bool _isPublished;
    private bool _isDisposed;

    internal PreparedImage((string Temporary, string Path) image, (string Temporary, string Path) thumbnail, int width, int height) =>
        (_image, _thumbnail, Width, Height) = (image, thumbnail, width, height);

    /// <summary>Pixels.</summary>
    public int Width { get; }

    /// <summary>Pixels.</summary>
    public int Height { get; }

    /// <summary>
    /// Renames both to their final names, over what is there; readers see the old one or the new one, whole. The thumbnail goes
    /// first: an image that has its name has a thumbnail. A reader may have been quicker. A second call does nothing.
    /// </summary>
    /// <exception cref="IOException">A rename failed; what was not renamed is still there.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void Publish()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_isPublished)
            return;
        Move(_thumbnail);
        Move(_image);
        _isPublished = true;
    }

    /// <summary>Leaves the temporary files where they are: their row is complete, and they get their final names later.</summary>
    public void Keep() => _isPublished = true;

    /// <summary>Removes the temporary files, if they were not published. What cannot be removed now is removed at the next start.</summary>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        if (_isPublished)
            return;
        Remove(_thumbnail.Temporary);
        Remove(_image.Temporary);
    }

    private static void Move((string Temporary, string Path) file)
    {
        try
        {
            File.Move(file.Temporary, file.Path, overwrite: true);
        }
        catch (FileNotFoundException) when (File.Exists(file.Path))
        {
            // ImageFiles.TryPublish.
        }
    }

    private static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A folder that has gone or may not be written must not change how the request ended.
        }
    }
}
