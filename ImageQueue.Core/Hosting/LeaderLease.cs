namespace ImageQueue.Core.Hosting;

/// <summary>A lease of this process, which another process takes over when this one dies.</summary>
/// <param name="store">Keeps the lease.</param>
/// <param name="name">The lease.</param>
/// <param name="term">How long it is held without being renewed; it is renewed after a third of that.</param>
/// <param name="time">Measures that third. The term itself is measured by the database's clock.</param>
public sealed class LeaderLease(ILeaseStore store, string name, TimeSpan term, TimeProvider time)
{
    private readonly string _holder = $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}";
    private long? _askedAt;

    /// <summary>Its name.</summary>
    public string Name => name;

    /// <summary>Whether this process holds it, as far as it knows.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>What its holder, this one or the one before, noted last.</summary>
    public string? Note { get; private set; }

    /// <summary>Acquires or renews the lease when that is due.</summary>
    /// <returns>Whether this process holds it.</returns>
    public async Task<bool> TryAcquireAsync(CancellationToken cancellationToken)
    {
        if (_askedAt is { } at && time.GetElapsedTime(at) < term / 3)
            return IsHeld;
        var asked = time.GetTimestamp();
        var held = await store.AcquireLeasesAsync(_holder, [name], term, cancellationToken);
        (IsHeld, Note, _askedAt) = (held.Count > 0, held.Count > 0 ? held[0].Note : null, asked);
        return IsHeld;
    }

    /// <summary>Notes how far the holder is, for its successor.</summary>
    public async Task SaveNoteAsync(string note, CancellationToken cancellationToken)
    {
        IsHeld = await store.NoteLeaseAsync(_holder, name, note, cancellationToken);
        Note = note;
    }

    /// <summary>Releases the lease if this process holds it.</summary>
    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (!IsHeld)
            return;
        await store.ReleaseLeasesAsync(_holder, [name], cancellationToken);
        (IsHeld, _askedAt) = (false, null);
    }
}
