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
            var (now, until) = (Now(), Write(_time.GetUtcNow() + term));
            return [.. names.Select(name => session.Connection.QuerySingleOrDefault<LeaseRow>(
                """
                INSERT INTO leases (name, holder, expires_at) VALUES (@name, @holder, @until)
                ON CONFLICT (name) DO UPDATE SET holder = @holder, expires_at = @until
                    WHERE holder IS NULL OR holder = @holder OR expires_at <= @now
                RETURNING name AS Name, note AS Note
                """,
                new { name, holder, until, now })).OfType<LeaseRow>().Select(row => new Lease(row.Name, row.Note))];
        },
        cancellationToken);

    public Task<bool> NoteLeaseAsync(string holder, string name, string? note, CancellationToken cancellationToken) => _writer.RunAsync(
        session =>
            session.Connection.Execute(
                "UPDATE leases SET note = @note WHERE name = @name AND holder = @holder", new { name, holder, note }) == 1,
        cancellationToken);

    public Task ReleaseLeasesAsync(string holder, IReadOnlyCollection<string> names, CancellationToken cancellationToken) =>
        _writer.RunAsync(
        session => session.Connection.Execute(
            "UPDATE leases SET holder = NULL, expires_at = NULL WHERE name IN @names AND holder = @holder", new { names, holder }),
        cancellationToken);

    public Task<IReadOnlyList<HeldLease>> ListLeasesAsync(string prefix, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<HeldLease>>(Read(connection => connection.Query<LeaseRow>(
            """
            SELECT name AS Name, holder AS Holder, note AS Note FROM leases
            WHERE substr(name, 1, length(@prefix)) = @prefix AND holder IS NOT NULL AND expires_at > @now
            ORDER BY name
            """,
            new { prefix, now = Now() }).Select(row => new HeldLease(row.Name, row.Holder, row.Note)).ToList()));

    /// <summary>Frees all leases, for the only process of the database; the notes stay.</summary>
    public Task ForgetHoldersAsync(CancellationToken cancellationToken) => _writer.RunAsync(
        session =>
            session.Connection.Execute("UPDATE leases SET holder = NULL, expires_at = NULL WHERE holder IS NOT NULL"), cancellationToken);

    private sealed class LeaseRow
    {
        public string Name { get; init; } = "";

        public string Holder { get; init; } = "";

        public string? Note { get; init; }
    }
}
