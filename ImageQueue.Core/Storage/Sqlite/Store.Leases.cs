using Dapper;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<IReadOnlyList<Lease>> AcquireLeasesAsync(
        string holder, IReadOnlyCollection<string> names, TimeSpan term, CancellationToken cancellationToken) =>
        _writer.RunAsync<IReadOnlyList<Lease>>(
        session =>
        {
            var (now, until) = (Now(), Ago(-term));
            return [.. names.SelectMany(name => session.Connection.Query<Lease>(
                """
                INSERT INTO leases (name, holder, expires_at) VALUES (@name, @holder, @until)
                ON CONFLICT (name) DO UPDATE SET holder = @holder, expires_at = @until
                    WHERE holder IS NULL OR holder = @holder OR expires_at <= @now
                RETURNING name, note
                """,
                new { name, holder, until, now }))];
        },
        cancellationToken);

    public async Task<bool> NoteLeaseAsync(string holder, string name, string? note, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE leases SET note = @note WHERE name = @name AND holder = @holder", new { name, holder, note }, cancellationToken) == 1;

    public Task ReleaseLeasesAsync(string holder, IReadOnlyCollection<string> names, CancellationToken cancellationToken) =>
        ExecuteAsync(
            "UPDATE leases SET holder = NULL, expires_at = NULL WHERE name IN @names AND holder = @holder", new { names, holder },
            cancellationToken);

    public Task<IReadOnlyList<HeldLease>> ListLeasesAsync(string prefix, CancellationToken cancellationToken) =>
        ManyAsync<HeldLease>(
            """
            SELECT name, holder, note FROM leases
            WHERE substr(name, 1, length(@prefix)) = @prefix AND holder IS NOT NULL AND expires_at > @now
            ORDER BY name
            """,
            new { prefix, now = Now() });

    /// <summary>Frees all leases, for the only process of the database; the notes stay.</summary>
    public Task ForgetHoldersAsync(CancellationToken cancellationToken) => ExecuteAsync(
        "UPDATE leases SET holder = NULL, expires_at = NULL WHERE holder IS NOT NULL", new { }, cancellationToken);
}
