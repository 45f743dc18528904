using Dapper;
using Hangfire.SqlServer;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// The SQL Server database that <c>ConnectionStrings:ImageQueue</c> names: its connections, its schema, Hangfire's options for it.
/// </summary>
public sealed class SqlServerDatabase : IMessageDatabase
{
    private const int MaxTries = 6;

    private readonly SqlConnectionStringBuilder _connectionString;
    private readonly bool _applySchema;
    private readonly SchemaInstaller _installer;
    private readonly ILogger _logger;
    private readonly Func<SqlConnectionStringBuilder, SqlServerConnections> _connect;

    /// <param name="connectionString">Of Microsoft.Data.SqlClient; it must name a server and a database.</param>
    /// <param name="applySchema">Whether <see cref="PrepareAsync"/> creates what is missing.</param>
    /// <exception cref="StorageSettingsException">The connection string cannot be used; the message does not repeat it.</exception>
    public SqlServerDatabase(string? connectionString, bool applySchema, ILogger logger)
        : this(connectionString, applySchema, logger, SqlServerConnections.To)
    {
    }

    internal SqlServerDatabase(
        string? connectionString, bool applySchema, ILogger logger, Func<SqlConnectionStringBuilder, SqlServerConnections> connect)
    {
        _connectionString = Parse(connectionString);
        _applySchema = applySchema;
        _logger = logger;
        _connect = connect;
        Connections = connect(_connectionString);
        _installer = new SchemaInstaller(Connections, logger);
    }

    /// <summary>The product's scripts and Hangfire's, as sqlcmd takes them. Needs no server.</summary>
    public static string Script => SchemaScripts.Print();

    internal SqlServerConnections Connections { get; }

    /// <summary>For Hangfire's storage, which opens its own connections.</summary>
    public string ConnectionString => _connectionString.ConnectionString;

    /// <inheritdoc/>
    public string Location => $"{_connectionString.InitialCatalog} on {_connectionString.DataSource}";

    /// <inheritdoc/>
    public bool MayComeBack => true;

    /// <summary>
    /// Hangfire's options. Those that depend on its schema assume the newest, since Hangfire would look only once, when the database
    /// may not answer or not exist yet; <see cref="PrepareAsync"/> corrects them for an older schema.
    /// </summary>
    public SqlServerStorageOptions HangfireOptions { get; } = new()
    {
        SchemaName = SchemaScripts.HangfireSchema,
        SqlClientFactory = SqlClientFactory.Instance,
        PrepareSchemaIfNecessary = false,
        TryAutoDetectSchemaDependentOptions = false,
        UseRecommendedIsolationLevel = true,
        DisableGlobalLocks = true,
        UseIgnoreDupKeyOption = true,
        DeleteExpiredBatchSize = 10_000,
    };

    /// <inheritdoc/>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        if (_applySchema)
            await ApplySchemaAsync(cancellationToken);
        var state = await CheckSchemaAsync(cancellationToken);
        if (state.CompatibilityProblem is { } problem)
            throw new SchemaException($"The database {Location} {problem}.");
        if (state.Needed.Any())
        {
            throw new SchemaException(
                $"The database {Location} lacks {Describe(state.Needed)}. Run \"dotnet run --project ImageQueue.Web -- schema apply\", "
                + "hand the scripts to a DBA (\"schema print\"), or set Storage:ApplySchema to true.");
        }

        foreach (var part in state.Missing)
        {
            _logger.LogWarning(
                "The database {Database} lacks {Part}; run {Script}. ImageQueue works without it, but slowly.",
                Location, part.Name, part.Script);
        }

        HangfireOptions.UseIgnoreDupKeyOption = state.HangfireVersion >= 8;
    }

    /// <exception cref="StoreUnavailableException">The server cannot be reached, or has no such database.</exception>
    public Task<SchemaState> CheckSchemaAsync(CancellationToken cancellationToken) => _installer.CheckAsync(cancellationToken);

    /// <summary>Creates the database, and everything that is missing in it.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached, or does not permit it.</exception>
    public async Task ApplySchemaAsync(CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                await _installer.ApplyAsync(cancellationToken);
                return;
            }
            catch (StoreUnavailableException e) when (e.InnerException is SqlException { Number: SqlServerErrors.CannotOpenDatabase }
                && tries < MaxTries)
            {
                // Repeated: a database that another process has just created exists before it can be opened.
                await CreateAsync(cancellationToken);
                await Task.Delay(TimeSpan.FromMilliseconds(100 * (tries - 1)), cancellationToken);
            }
        }
    }

    private async Task CreateAsync(CancellationToken cancellationToken)
    {
        _logger.LogInformation("Creating the database {Database}.", Location);
        var master = _connect(new SqlConnectionStringBuilder(ConnectionString) { InitialCatalog = "master" });
        var name = new StatementParameters().AddText("@Name", _connectionString.InitialCatalog, 128);
        var create = new CommandDefinition(CreateDatabase, name, commandTimeout: 0, cancellationToken: cancellationToken);
        await master.RunAsync(connection => connection.ExecuteAsync(create), cancellationToken);
    }

    /// <summary>The missing parts and the scripts that create them.</summary>
    internal static string Describe(IEnumerable<SchemaPart> missing) =>
        string.Join(
            "; ",
            missing.GroupBy(part => part.Script).Select(
                script => $"{string.Join(", ", script.Select(part => part.Name))} (script {script.Key})"));

    private const string CreateDatabase =
        """
        IF DB_ID(@Name) IS NULL
        BEGIN
            DECLARE @Create nvarchar(300) = N'CREATE DATABASE ' + QUOTENAME(@Name);
            EXEC (@Create);
        END
        """;

    private static SqlConnectionStringBuilder Parse(string? connectionString)
    {
        const string example = "such as \"Server=db1;Database=ImageQueue;User ID=imagequeue;Password=...\"";
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            throw new StorageSettingsException(
                "ConnectionStrings:ImageQueue is missing. With Storage:Provider=SqlServer it names the server and the database, "
                + $"{example}.");
        }

        SqlConnectionStringBuilder builder;
        try
        {
            builder = new SqlConnectionStringBuilder(connectionString);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or KeyNotFoundException)
        {
            // The exception's text may repeat a password.
            throw new StorageSettingsException(
                $"ConnectionStrings:ImageQueue cannot be read as a connection string of SQL Server. Write it {example}.");
        }

        if (builder.DataSource.Length == 0)
            throw new StorageSettingsException($"ConnectionStrings:ImageQueue names no server. Write it {example}.");
        if (builder.InitialCatalog.Length == 0)
            throw new StorageSettingsException($"ConnectionStrings:ImageQueue names no database. Write it {example}.");
        if (!builder.ContainsKey("Application Name")
            || builder.ApplicationName.StartsWith("Core Microsoft SqlClient", StringComparison.Ordinal))
        {
            builder.ApplicationName = "ImageQueue";
        }

        // By default the pool repeats the last failure for up to a minute instead of trying the server again.
        if (!builder.ShouldSerialize("Pool Blocking Period"))
            builder.PoolBlockingPeriod = PoolBlockingPeriod.NeverBlock;
        // A refusing port is tried for so long, so this is also how long a request waits for its 503.
        if (!builder.ShouldSerialize("Connect Timeout"))
            builder.ConnectTimeout = 5;
        return builder;
    }
}
