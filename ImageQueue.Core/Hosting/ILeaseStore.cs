namespace ImageQueue.Core.Hosting;

/// <summary>Leases: which process may use a backend or lead a task. A term is judged by the database's clock alone.</summary>
public interface ILeaseStore
{
    /// <summary>Takes free leases and renews the holder's own. A lease is free when it has no holder or its term is over.</summary>
    /// <param name="holder">One name per process.</param>
    /// <param name="names">The leases.</param>
    /// <param name="term">How long each is held without being renewed.</param>
    /// <returns>Those of <paramref name="names"/> that the holder has now.</returns>
    Task<IReadOnlyList<Lease>> AcquireLeasesAsync(
        string holder, IReadOnlyCollection<string> names, TimeSpan term, CancellationToken cancellationToken);

    /// <summary>Writes what the holder does with a lease; the note outlives the holder. Guard: the holder has it.</summary>
    Task<bool> NoteLeaseAsync(string holder, string name, string? note, CancellationToken cancellationToken);

    /// <summary>Gives leases back; their notes stay.</summary>
    Task ReleaseLeasesAsync(string holder, IReadOnlyCollection<string> names, CancellationToken cancellationToken);

    /// <summary>The leases with a holder and this prefix, ordered by name.</summary>
    Task<IReadOnlyList<HeldLease>> ListLeasesAsync(string prefix, CancellationToken cancellationToken);
}

/// <summary>A lease that the caller has.</summary>
/// <param name="Name">A backend or a task.</param>
/// <param name="Note">What its holder, this one or the one before, wrote last.</param>
public readonly record struct Lease(string Name, string? Note);

/// <summary>A lease whose term is not over.</summary>
/// <param name="Name">A backend or a task.</param>
/// <param name="Holder">The process that has it.</param>
/// <param name="Note">What its holder, this one or the one before, wrote last.</param>
public readonly record struct HeldLease(string Name, string Holder, string? Note);
