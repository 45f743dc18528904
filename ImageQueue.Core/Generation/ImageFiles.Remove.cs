namespace ImageQueue.Core.Generation;

/// <summary>Removing for good.</summary>
public sealed partial class ImageFiles
{
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
    public IEnumerable<string> JobsOfImagesOlderThan(TimeSpan age)
    {
        if (!System.IO.Directory.Exists(_directory))
            yield break;
        var before = time.GetUtcNow().UtcDateTime - age;
        foreach (var path in System.IO.Directory.EnumerateFiles(_directory, $"{Prefix}*.png"))
        {
            if (Path.GetFileNameWithoutExtension(path)[Prefix.Length..] is var jobId
                && IsJobId(jobId)
                && File.GetLastWriteTimeUtc(path) < before)
            {
                yield return jobId;
            }
        }
    }
}
