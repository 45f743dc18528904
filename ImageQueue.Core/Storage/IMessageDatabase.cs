namespace ImageQueue.Core.Storage;

/// <summary>The database behind the store: its place, its schema, its own files.</summary>
public interface IMessageDatabase
{
    /// <summary>For people: without credentials.</summary>
    string Location { get; }

    /// <summary>
    /// Whether the start waits for an unavailable database: a server comes back by itself, a local file that cannot be opened is a
    /// mistake to report at once.
    /// </summary>
    bool MayComeBack { get; }

    /// <summary>Creates missing tables, or, when <c>Storage:ApplySchema</c> says so, only checks that none is missing.</summary>
    /// <exception cref="SchemaException">Tables are missing or of another release.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be reached or written.</exception>
    Task PrepareAsync(CancellationToken cancellationToken);

    /// <summary>Starts to remove what was erased from the database's own files, in the background where open readers delay it.</summary>
    Task SettleAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

/// <summary>The tables do not fit this release. The message says what to do.</summary>
public sealed class SchemaException(string message) : Exception(message);

/// <summary>The settings of the storage cannot be used. The message names the key and says what to write.</summary>
public sealed class StorageSettingsException(string message) : Exception(message);
