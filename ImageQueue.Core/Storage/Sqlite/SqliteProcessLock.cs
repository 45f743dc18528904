namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// Keeps a second process off the same database file: each would hold the queue in its own memory and generate every request once
/// more. Held for the life of the process; the operating system releases it however the process ends.
/// </summary>
internal sealed class SqliteProcessLock(SqliteMessageStore store) : IMessageDatabase, IDisposable
{
    private FileStream? _file;

    public string Location => store.Location;

    public bool MayComeBack => false;

    /// <summary>Takes the lock before reading or writing anything.</summary>
    /// <exception cref="DatabaseInUseException">Another process has the database.</exception>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        _file ??= Lock(Location + ".lock");
        await store.PrepareAsync(cancellationToken);
        try
        {
            // Earlier holders of leases are dead: they held this file's lock.
            await store.ForgetHoldersAsync(cancellationToken);
        }
        catch (StoreUnavailableException)
        {
            // A read-only file can still be read, and its leases expire by themselves; each write reports the fault.
        }
    }

    public Task SettleAsync(CancellationToken cancellationToken) => store.SettleAsync(cancellationToken);

    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    private FileStream Lock(string path)
    {
        try
        {
            PrivateFiles.CreateFolder(Path.GetDirectoryName(path)!); // A full path of a file has a folder.
            // The file stays when the process ends: removing it would let two later processes lock two different files.
            return PrivateFiles.OpenOrCreate(path, FileShare.None);
        }
        catch (IOException e) when (File.Exists(path))
        {
            throw new DatabaseInUseException(Location, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StoreUnavailableException(
                $"The folder of the message database {Location} cannot be written: {e.Message} "
                + "Start ImageQueue in a folder that it may write, or name another file in ConnectionStrings:ImageQueue.",
                e);
        }
    }
}

/// <summary>Another process works on the same database file.</summary>
public sealed class DatabaseInUseException(string location, Exception inner) : Exception(
    $"Another ImageQueue is running on {location}. Stop it first, give this one another file in ConnectionStrings:ImageQueue, "
    + "or use Storage:Provider SqlServer for several processes.",
    inner);
