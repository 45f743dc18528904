using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Messages.Sqlite;

/// <summary>
/// Keeps a second process off the same database file: each would hold the queue in its own memory, and every request would be
/// painted twice. Held for the life of the process; the operating system lets go of it however the process ends.
/// </summary>
internal sealed class SqliteProcessLock(IMessageDatabase database) : IHostedLifecycleService, IDisposable
{
    private FileStream? _file;

    /// <summary>Before anything reads or writes the rows.</summary>
    /// <exception cref="DatabaseInUseException">Another process has the database.</exception>
    public Task StartingAsync(CancellationToken cancellationToken)
    {
        var path = database.Location + ".lock";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!); // A full path of a file has a folder.
            // The file stays when the process ends: removing it would let two later processes lock two different files.
            _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            return Task.CompletedTask;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw File.Exists(path) && e is IOException
                ? new DatabaseInUseException(database.Location, e)
                : new StoreUnavailableException($"The folder of the message database {database.Location} cannot be written: {e.Message}", e);
        }
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken)
    {
        // Workers that outlive their time have been told to stop; whoever starts next fences them by the attempt.
        Dispose();
        return Task.CompletedTask;
    }

    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }
}

/// <summary>Another process works on the same database file.</summary>
public sealed class DatabaseInUseException(string location, Exception inner) : Exception(
    $"Another ImageQueue is running on {location}. Stop it first, give this one another file in ConnectionStrings:ImageQueue, or use Storage:Provider SqlServer for several processes.",
    inner);
