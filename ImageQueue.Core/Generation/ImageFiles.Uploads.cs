namespace ImageQueue.Core.Generation;

/// <summary>Uploads: <c>upload_{id}.png</c>, which only the app's own user may read.</summary>
public sealed partial class ImageFiles
{
    private const string UploadPrefix = "upload_";

    /// <summary>The path of an upload; null when there is none, or the id is invalid.</summary>
    public string? FindUploadPath(string id) => Find(id, UploadPathOf);

    /// <summary>A file for what is being received; disposing removes it. A crash leaves it to the clean-up.</summary>
    internal FileStream CreateUploadTemporary() =>
        CreatePrivate($"{Guid.NewGuid():N}.part", FileAccess.ReadWrite, FileOptions.DeleteOnClose);

    /// <summary>Writes an upload under its final name, whole.</summary>
    /// <exception cref="IOException">It could not be written, and no file is left.</exception>
    internal void WriteUpload(string id, ReadOnlyMemory<byte> png)
    {
        CheckJobId(id);
        var file = CreatePrivate(id, FileAccess.Write, FileOptions.None);
        WriteAndClose(file, png, toDisk: true);
        File.Move(file.Name, UploadPathOf(id));
    }

    internal void RemoveUpload(string id)
    {
        CheckJobId(id);
        Remove(UploadPathOf(id));
    }

    /// <summary>Ids of the uploads that were stored longer ago than that.</summary>
    internal IEnumerable<string> UploadsOlderThan(TimeSpan age) => IdsOfOldFiles(UploadPrefix, age);

    /// <summary>Removes what a crash left of uploads being received.</summary>
    internal void RemoveUnfinishedUploads(TimeSpan age)
    {
        foreach (var path in OldFiles($"{UploadPrefix}*.tmp", age))
            RemoveQuietly(path);
    }

    private FileStream CreatePrivate(string name, FileAccess access, FileOptions options)
    {
        System.IO.Directory.CreateDirectory(_directory);
        var how = new FileStreamOptions { Mode = FileMode.CreateNew, Access = access, Options = options };
        if (!OperatingSystem.IsWindows())
            how.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        return new FileStream(Path.Combine(_directory, $"{UploadPrefix}{name}.tmp"), how);
    }

    private string UploadPathOf(string id) => Path.Combine(_directory, $"{UploadPrefix}{id}.png");
}
