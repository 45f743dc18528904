using System.Data;
using System.Data.Common;
using Dapper;
using Hangfire.SqlServer;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// Compares a database with the scripts, and runs them. The existing tables, columns and indexes decide what is missing; the journal
/// only spares a start the scripts that have run.
/// </summary>
internal sealed class SchemaInstaller(SqlServerConnections connections, ILogger logger)
{
    /// <summary>Oldest compatibility level with OPENJSON; a database restored from an older server keeps its level.</summary>
    public const int OldestCompatibility = 130;

    /// <summary>Oldest schema of Hangfire's that the app can work with.</summary>
    public const int OldestHangfire = 6;

    private static readonly TimeSpan LockTimeout = TimeSpan.FromMinutes(2);

    /// <summary>The missing or old parts, in the order of the scripts.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached, or has no such database.</exception>
    public Task<SchemaState> CheckAsync(CancellationToken cancellationToken) =>
        connections.RunAsync(connection => CheckAsync(connection, cancellationToken), cancellationToken);

    /// <summary>Runs every script that has not run, or all when a part is missing. Safe beside other processes.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached, or does not permit it.</exception>
    public Task ApplyAsync(CancellationToken cancellationToken) => connections.RunAsync(
        async connection =>
        {
            // Held by the session, not by a transaction: database options cannot be changed inside one.
            var parameters = new StatementParameters().Add("@LockTimeout", (int)LockTimeout.TotalMilliseconds);
            await connection.ExecuteAsync(Command(Lock, cancellationToken, parameters, timeout: 0));
            try
            {
                await RunScriptsAsync(connection, cancellationToken);
            }
            finally
            {
                // A broken connection has released it; a pooled one would keep it.
                if (connection.State == ConnectionState.Open)
                    await connection.ExecuteAsync(Unlock);
            }

            return true;
        },
        cancellationToken);

    private async Task RunScriptsAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        var state = await CheckAsync(connection, cancellationToken);
        await connection.ExecuteAsync(Command(CreateJournal, cancellationToken));
        var journal = (await connection.QueryAsync<string>(Command(ReadJournal, cancellationToken))).ToHashSet(StringComparer.Ordinal);

        // The scripts PRINT for their operator; Hangfire prints every step.
        var level = LogLevel.Information;
        if (connection is SqlConnection sql)
            sql.InfoMessage += (_, message) => logger.Log(level, "SQL Server: {Message}", message.Message);

        foreach (var script in SchemaScripts.All.Where(script => state.Missing.Count > 0 || !journal.Contains(script.Name)))
        {
            await RunAsync(connection, script, cancellationToken);
            var entry = new StatementParameters().AddText("@Name", script.Name, 200);
            await connection.ExecuteAsync(Command(WriteJournal, cancellationToken, entry));
        }

        level = LogLevel.Debug;
        if (state.HangfireVersion is null || state.HangfireVersion < SqlServerObjectsInstaller.LatestSchemaVersion)
            await RunAsync(connection, SchemaScripts.Hangfire, cancellationToken);
    }

    private async Task RunAsync(DbConnection connection, SchemaScript script, CancellationToken cancellationToken)
    {
        logger.LogInformation("Running {Script}.", script.Name);
        foreach (var batch in script.Batches)
            await connection.ExecuteAsync(Command(batch, cancellationToken, timeout: 0));
    }

    private static async Task<SchemaState> CheckAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        var parts = SchemaScripts.All.SelectMany(script => script.Parts).ToList();
        var missing = (await connection.QueryAsync<int>(Command(FindMissing(parts), cancellationToken))).ToHashSet();
        var version = await ReadAsync<int>(FindHangfire) == 1 ? await ReadAsync<int?>(ReadHangfireVersion) : null;

        // A missing table lacks its columns too; one line is enough.
        var found = parts.Where((_, i) => missing.Contains(i)).ToList();
        var tables = found.Where(part => part.Name.StartsWith("table ", StringComparison.Ordinal))
            .Select(part => part.Name["table ".Length..] + ".")
            .ToList();
        found.RemoveAll(part => tables.Exists(table => part.Name.Contains(table, StringComparison.Ordinal)));
        if (version is null or < OldestHangfire)
        {
            found.Add(new SchemaPart(
                SchemaScripts.Hangfire.Name, IsNeeded: true, version is null
                    ? "Hangfire's tables"
                    : $"Hangfire's schema {OldestHangfire} or later (it has {version})", ""));
        }

        return new SchemaState(found, version, await ReadAsync<int>(FindSnapshots) == 1, await ReadAsync<int>(ReadCompatibility));

        Task<T?> ReadAsync<T>(string sql) => connection.ExecuteScalarAsync<T>(Command(sql, cancellationToken));
    }

    private static CommandDefinition Command(
        string sql, CancellationToken cancellationToken, StatementParameters? parameters = null, int? timeout = null) =>
        new(sql, parameters, commandTimeout: timeout, cancellationToken: cancellationToken);

    private static string FindMissing(IEnumerable<SchemaPart> parts) =>
        string.Join(
            "\nUNION ALL ",
            parts.Select((part, i) => string.Create(CultureInfo.InvariantCulture, $"SELECT {i} AS part WHERE {part.MissingWhen}"))) + ";";

    private const string FindHangfire =
        $"SELECT CASE WHEN OBJECT_ID(N'{SchemaScripts.HangfireSchema}.Schema', N'U') IS NULL THEN 0 ELSE 1 END;";

    private const string ReadHangfireVersion = $"SELECT MAX([Version]) FROM [{SchemaScripts.HangfireSchema}].[Schema];";

    private const string FindSnapshots =
        "SELECT COUNT(*) FROM sys.databases WHERE database_id = DB_ID() AND is_read_committed_snapshot_on = 1;";

    private const string ReadCompatibility = "SELECT CAST(compatibility_level AS int) FROM sys.databases WHERE database_id = DB_ID();";

    private const string Lock =
        """
        DECLARE @Lock int;
        EXEC @Lock = sp_getapplock
            @Resource = N'imagequeue:schema', @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = @LockTimeout;
        IF @Lock = -3
            THROW 51224, N'Waiting for the lock was a deadlock.', 1;
        IF @Lock < 0
            THROW 51223, N'Another process has been changing the schema for too long.', 1;
        """;

    private const string Unlock = "EXEC sp_releaseapplock @Resource = N'imagequeue:schema', @LockOwner = N'Session';";

    private const string CreateJournal =
        """
        IF OBJECT_ID(N'dbo.imagequeue_scripts', N'U') IS NULL
            CREATE TABLE dbo.imagequeue_scripts
            (
                name       nvarchar(200) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT PK_imagequeue_scripts PRIMARY KEY,
                applied_at datetime2(3) NOT NULL CONSTRAINT DF_imagequeue_scripts_applied_at DEFAULT (SYSUTCDATETIME())
            );
        """;

    private const string ReadJournal = "SELECT name FROM dbo.imagequeue_scripts;";

    private const string WriteJournal =
        """
        INSERT INTO dbo.imagequeue_scripts (name)
        SELECT @Name WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_scripts WHERE name = @Name);
        """;
}

/// <summary>A database compared with the scripts.</summary>
/// <param name="Missing">The missing parts, in the order of the scripts.</param>
/// <param name="HangfireVersion">Of Hangfire's tables; null when there are none.</param>
/// <param name="HasSnapshots">Whether readers see the last committed row instead of waiting for a writer.</param>
/// <param name="Compatibility">The database's compatibility level.</param>
public sealed record SchemaState(IReadOnlyList<SchemaPart> Missing, int? HangfireVersion, bool HasSnapshots, int Compatibility)
{
    /// <summary>A sentence with the remedy; null when the compatibility level will do.</summary>
    public string? CompatibilityProblem => Compatibility >= SchemaInstaller.OldestCompatibility
        ? null
        : $"is at compatibility level {Compatibility}, and {SchemaInstaller.OldestCompatibility} is needed: "
            + SqlServerErrors.RaiseCompatibility;

    /// <summary>The missing parts that the app needs.</summary>
    public IEnumerable<SchemaPart> Needed => Missing.Where(part => part.IsNeeded);
}
