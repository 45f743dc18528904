namespace ImageQueue.Core.Messages;

/// <summary>The database behind the store, as the start sees it.</summary>
public interface IMessageDatabase
{
    /// <summary>Where it is, without credentials.</summary>
    string Location { get; }

    /// <summary>Creates missing tables, or, when <c>Storage:ApplySchema</c> says so, only checks that none is missing.</summary>
    /// <exception cref="SchemaException">Tables are missing or of another release.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be reached or written.</exception>
    Task PrepareAsync(CancellationToken cancellationToken);
}

/// <summary>The tables do not fit this release. The message says what to do.</summary>
public sealed class SchemaException(string message) : Exception(message);
