using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Generation;

/// <summary>
/// The folder of images: <c>flux_{job_id}.png</c> and its thumbnail <c>flux_{job_id}.thumb.webp</c>, written under a temporary name and
/// renamed, so that a file with a final name is always a whole image. The temporary name is the attempt's own: the row says whose image
/// it is, so that the next reader repairs a crash between the row and the rename (<see cref="TryPublish"/>).
/// </summary>
/// <remarks>Disk errors surface as <see cref="IOException"/> or <see cref="UnauthorizedAccessException"/>.</remarks>
public sealed partial class ImageFiles(IOptions<ImagesOptions> options, TimeProvider time, ILogger<ImageFiles> logger) : IImageStorage
{
    private const int PreviewSide = 512;
    private const int ThumbnailSide = 512;
    private const int JobIdLength = 32;
    private const string Prefix = "flux_";

    /// <summary>Free space below which no image is stored: a large PNG and its neighbours.</summary>
    private const long LeastRoom = 64L * 1024 * 1024;

    /// <summary>How long the folder counts as writable after a look.</summary>
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(10);

    private readonly string _directory = Path.GetFullPath(options.Value.Directory);
    private long? _foundWritableAt;

    /// <summary>The folder, as a full path.</summary>
    public string Directory => _directory;

    /// <summary>
    /// Checks that the bytes are a whole PNG, JPEG or WebP by decoding every pixel, and writes them, as PNG, to a temporary
    /// file that has reached the disk when this returns; beside it a thumbnail.
    /// </summary>
    /// <param name="jobId">The job: 32 lower-case hex digits.</param>
    /// <param name="attempt">The attempt, so that two of one job never share a file.</param>
    /// <param name="bytes">Encoded image. A PNG keeps its bytes, except for metadata as <see cref="ImagesOptions.Metadata"/> says.</param>
    /// <param name="parameters">Forge's text of the image, for one that is converted.</param>
    /// <exception cref="ForgeException"><see cref="Forge.ForgeFailure.BadImage"/>: no image, or not a whole one; nothing was
    /// written.</exception>
    /// <exception cref="ForgeException"><see cref="Forge.ForgeFailure.BlackImage"/>: no pixel has any colour.</exception>
    /// <exception cref="ArgumentException">The job id is none.</exception>
    /// <exception cref="IOException">The file could not be written, and none is left.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public PreparedImage Prepare(string jobId, int attempt, ReadOnlyMemory<byte> bytes, string? parameters = null)
    {
        CheckJobId(jobId);
        var image = ImageCheck.ToPng(bytes, options.Value.Metadata, parameters);
        var temporary = TemporaryPathOf(jobId, attempt);
        var thumbnail = ImageCheck.ToSmallWebP(image.Png, ThumbnailSide);
        var temporaryThumbnail = TemporaryThumbnailPathOf(jobId, attempt);
        Write(temporaryThumbnail, thumbnail, toDisk: true);
        try
        {
            Write(temporary, image.Png, toDisk: true);
        }
        catch
        {
            RemoveQuietly(temporaryThumbnail);
            throw;
        }

        return new PreparedImage((temporary, PathOf(jobId)), (temporaryThumbnail, ThumbnailPathOf(jobId)), image.Width, image.Height);
    }

    /// <summary>
    /// Why no image could be stored now, as a sentence for operators; null when one could. Looks at the folder, its rights and
    /// the room on its disk, at most once in ten seconds while it is writable.
    /// </summary>
    public string? WhyNotWritable()
    {
        if (_foundWritableAt is { } at && time.GetElapsedTime(at) < LookInterval)
            return null;
        try
        {
            System.IO.Directory.CreateDirectory(_directory);
            var probe = Path.Combine(_directory, $".probe-{Guid.NewGuid():N}");
            using (File.Create(probe, bufferSize: 1, FileOptions.DeleteOnClose))
            {
                if (FreeBytes() is { } room and < LeastRoom)
                    return $"The disk of Images:Directory ({_directory}) has only {room / (1024 * 1024)} MiB left.";
            }

            _foundWritableAt = time.GetTimestamp();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"Images:Directory ({_directory}) cannot be written: {e.Message}";
        }
    }

    /// <summary>Free space on the folder's disk; null when it is not known.</summary>
    public long? FreeBytes()
    {
        try
        {
            return new DriveInfo(_directory).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null; // A share on Windows (\\nas\images) is no drive.
        }
    }

    /// <summary>Renames the image of a job's attempt and its thumbnail to their final names, unless that is done.</summary>
    /// <returns>Its path; null when there is no such image.</returns>
    /// <exception cref="IOException">It is there and cannot be renamed.</exception>
    public string? TryPublish(string jobId, int attempt)
    {
        CheckJobId(jobId);
        TryMove(TemporaryThumbnailPathOf(jobId, attempt), ThumbnailPathOf(jobId));
        TryMove(TemporaryPathOf(jobId, attempt), PathOf(jobId));
        return FindPath(jobId);
    }

    /// <summary>The path of a job's image; null when there is none, or the id is invalid.</summary>
    public string? FindPath(string jobId) => Find(jobId, PathOf);

    /// <summary>The path of a job's thumbnail; null when there is none, or the id is invalid.</summary>
    public string? FindThumbnailPath(string jobId) => Find(jobId, ThumbnailPathOf);

    /// <summary>A job's preview, whole, or null. It is read at once, since it may be replaced or removed at any moment.</summary>
    /// <exception cref="IOException">The file could not be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public byte[]? ReadPreview(string jobId)
    {
        if (!IsJobId(jobId))
            return null;
        try
        {
            using var file = new FileStream(
                PreviewPathOf(jobId), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Writes a preview as a small JPEG, <c>flux_{job_id}.preview.jpg</c>, over an earlier one.</summary>
    /// <returns>False when the bytes are no image; nothing was written then.</returns>
    /// <exception cref="IOException">The file could not be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public bool WritePreview(string jobId, ReadOnlyMemory<byte> bytes)
    {
        CheckJobId(jobId);
        if (ImageCheck.ToSmallJpeg(bytes, PreviewSide) is not { } jpeg)
            return false;

        var temporary = Path.Combine(_directory, $"{Prefix}{jobId}.preview.tmp");
        Write(temporary, jpeg, toDisk: false);
        File.Move(temporary, PreviewPathOf(jobId), overwrite: true);
        return true;
    }

    /// <summary>Removes a job's preview, if there is one.</summary>
    public void RemovePreview(string jobId)
    {
        CheckJobId(jobId);
        Remove(PreviewPathOf(jobId));
    }

    /// <summary>The temporary files and previews of all jobs: those being generated, and those that a crash left.</summary>
    internal IReadOnlyList<TemporaryFile> ListTemporaries() => System.IO.Directory.Exists(_directory)
        ? [.. System.IO.Directory.EnumerateFiles(_directory, Prefix + "*").Select(TemporaryFile.Of).OfType<TemporaryFile>()]
        : [];

    /// <summary>Removes temporary files; those that have got their final name meanwhile are left.</summary>
    /// <returns>How many files were removed. One that cannot be is logged and left.</returns>
    internal int RemoveTemporaries(IEnumerable<TemporaryFile> files)
    {
        var removed = 0;
        foreach (var file in files.Where(file => File.Exists(file.Path)))
        {
            try
            {
                File.Delete(file.Path);
                removed++;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                logger.LogWarning(exception, "The temporary file {Path} could not be removed.", file.Path);
            }
        }

        return removed;
    }

    /// <summary>
    /// Removes all that there is of a job: what has not got its final name yet first, so that nothing can get it meanwhile.
    /// </summary>
    /// <param name="jobId">32 lower-case hex digits.</param>
    /// <param name="attempts">How many attempts there were.</param>
    /// <exception cref="IOException">A file could not be removed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void RemoveAll(string jobId, int attempts)
    {
        CheckJobId(jobId);
        for (var attempt = attempts; attempt > 0; attempt--)
        {
            Remove(TemporaryPathOf(jobId, attempt));
            Remove(TemporaryThumbnailPathOf(jobId, attempt));
        }

        Remove(Path.Combine(_directory, $"{Prefix}{jobId}.preview.tmp"));
        Remove(PreviewPathOf(jobId));
        Remove(ThumbnailPathOf(jobId));
        Remove(PathOf(jobId));
    }

    /// <summary>The jobs of finished images that were stored longer ago than that.</summary>
    public IEnumerable<string> JobsOfImagesOlderThan(TimeSpan age) => IdsOfOldFiles(Prefix, age);

    private IEnumerable<string> IdsOfOldFiles(string prefix, TimeSpan age) =>
        OldFiles($"{prefix}*.png", age).Select(path => Path.GetFileNameWithoutExtension(path)[prefix.Length..]).Where(IsJobId);

    private IEnumerable<string> OldFiles(string pattern, TimeSpan age)
    {
        var before = time.GetUtcNow().UtcDateTime - age;
        return System.IO.Directory.Exists(_directory)
            ? System.IO.Directory.EnumerateFiles(_directory, pattern).Where(path => File.GetLastWriteTimeUtc(path) < before)
            : [];
    }

    private void Write(string path, ReadOnlyMemory<byte> bytes, bool toDisk)
    {
        System.IO.Directory.CreateDirectory(_directory);
        WriteAndClose(new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0), bytes, toDisk);
    }

    private void WriteAndClose(FileStream file, ReadOnlyMemory<byte> bytes, bool toDisk)
    {
        try
        {
            using (file)
            {
                file.Write(bytes.Span);

                // A crash of the machine after the rename must not leave a final name on an empty file.
                if (toDisk)
                    file.Flush(flushToDisk: true);
            }
        }
        catch
        {
            // A full disk would otherwise keep the half that fitted.
            RemoveQuietly(file.Name);
            throw;
        }
    }

    private static void TryMove(string temporary, string path)
    {
        try
        {
            File.Move(temporary, path, overwrite: true);
        }
        catch (FileNotFoundException)
        {
            // Another reader was quicker, or there is none.
        }
    }

    private void RemoveQuietly(string path)
    {
        try
        {
            Remove(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning(exception, "The unfinished file {Path} could not be removed.", path);
        }
    }

    private static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // Gone already, with its folder.
        }
    }

    private string TemporaryPathOf(string jobId, int attempt) => Path.Combine(_directory, $"{Prefix}{jobId}.{attempt}.tmp");

    private string TemporaryThumbnailPathOf(string jobId, int attempt) => Path.Combine(_directory, $"{Prefix}{jobId}.{attempt}.thumb.tmp");

    private string ThumbnailPathOf(string jobId) => Path.Combine(_directory, $"{Prefix}{jobId}.thumb.webp");

    private string PathOf(string jobId) => Path.Combine(_directory, $"{Prefix}{jobId}.png");

    private string PreviewPathOf(string jobId) => Path.Combine(_directory, $"{Prefix}{jobId}.preview.jpg");

    private static string? Find(string jobId, Func<string, string> pathOf) =>
        IsJobId(jobId) && pathOf(jobId) is var path && File.Exists(path) ? path : null;

    /// <summary>The id names a file, so nothing but hex digits may come near the path.</summary>
    private static bool IsJobId(string? jobId) => jobId is { Length: JobIdLength } && jobId.All(char.IsAsciiHexDigitLower);

    private static void CheckJobId(string jobId)
    {
        if (!IsJobId(jobId))
            throw new ArgumentException("A job id is 32 lower-case hex digits.", nameof(jobId));
    }
}
