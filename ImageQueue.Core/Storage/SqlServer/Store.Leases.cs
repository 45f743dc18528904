using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int LeaseSize = 300;

    public Task<IReadOnlyList<Lease>> AcquireLeasesAsync(
        string holder, IReadOnlyCollection<string> names, TimeSpan term, CancellationToken cancellationToken) =>
        ManyAsync<Lease>(
            AcquireLeases, Names(names).AddText("@Holder", holder, LeaseSize).Add("@Term", (int)term.TotalMilliseconds), cancellationToken);

    // The process that adds a lease's row first is not yet its holder. A second one that adds it at the same time gets a key error, is
    // repeated, and finds the row.
    private const string AcquireLeases =
        $"""
        INSERT INTO dbo.imagequeue_leases (name)
        SELECT DISTINCT those.name FROM OPENJSON(@Names) WITH (name nvarchar(300) '$') AS those
        WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_leases AS known WHERE known.name = those.name COLLATE Latin1_General_100_BIN2);
        UPDATE dbo.imagequeue_leases
        SET holder = @Holder, expires_at = DATEADD(millisecond, @Term, SYSUTCDATETIME())
        OUTPUT inserted.name AS Name, inserted.note AS Note
        WHERE name IN ({ThoseNames}) AND (holder IS NULL OR holder = @Holder OR expires_at <= SYSUTCDATETIME());
        """;

    public async Task<bool> NoteLeaseAsync(string holder, string name, string? note, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE dbo.imagequeue_leases SET note = @Note WHERE name = @Name AND holder = @Holder;",
            new StatementParameters().AddText("@Name", name, LeaseSize).AddText("@Holder", holder, LeaseSize).AddText("@Note", note, 400),
            cancellationToken) == 1;

    public Task ReleaseLeasesAsync(string holder, IReadOnlyCollection<string> names, CancellationToken cancellationToken) =>
        ExecuteAsync(
            $"UPDATE dbo.imagequeue_leases SET holder = NULL, expires_at = NULL WHERE name IN ({ThoseNames}) AND holder = @Holder;",
            Names(names).AddText("@Holder", holder, LeaseSize), cancellationToken);

    public Task<IReadOnlyList<HeldLease>> ListLeasesAsync(string prefix, CancellationToken cancellationToken) =>
        ManyAsync<HeldLease>(ListLeases, new StatementParameters().AddText("@Prefix", prefix, LeaseSize), cancellationToken);

    // A few dozen rows at most: read whole. LEFT instead of LIKE, which has wildcards.
    private const string ListLeases =
        """
        SELECT name AS Name, holder AS Holder, note AS Note
        FROM dbo.imagequeue_leases
        WHERE LEFT(name, LEN(@Prefix)) = @Prefix AND holder IS NOT NULL AND expires_at > SYSUTCDATETIME()
        ORDER BY name;
        """;

    private static StatementParameters Names(IReadOnlyCollection<string> names) =>
        new StatementParameters().AddText("@Names", JsonSerializer.Serialize(names));

    private const string ThoseNames =
        "SELECT those.name COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Names) WITH (name nvarchar(300) '$') AS those";
}
