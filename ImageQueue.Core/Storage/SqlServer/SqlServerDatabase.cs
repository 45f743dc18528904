using Dapper;
using Hangfire.SqlServer;
using ImageQueue.Core.Messages;
using Microsoft.Data.SqlClient;
using Microsoft.Extensions.Logging;

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
    /// <param name="applySchema">Whether <see cref="PrepareAsync"/> makes what is missing.</param>
    /// <param name="logger">Told of scripts that run and of what had better be there.</param>
    /// <exception cref="StorageSettingsException">The connection string cannot be used; the message says why, without repeating
    /// it.</exception>
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

    /// <summary>The whole script, as sqlcmd takes it: the product's own and Hangfire's. Needs no server.</summary>
    public static string Script => SchemaScripts.Print();

    /// <summary>For all of the product's own statements.</summary>
    internal SqlServerConnections Connections { get; }

    /// <summary>For Hangfire's storage, which opens connections of its own.</summary>
    public string ConnectionString => _connectionString.ConnectionString;

    /// <inheritdoc/>
    public string Location => $"{_connectionString.InitialCatalog} on {_connectionString.DataSource}";

    /// <inheritdoc/>
    public bool MayComeBack => true;

    /// <summary>
    /// Hangfire's options. Those that depend on its schema are given for the newest, since Hangfire would look once, when the
    /// database may not answer or not be there yet; <see cref="PrepareAsync"/> takes them back for an older one.
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
                $"The database {Location} lacks {Describe(state.Needed)}. Run \"dotnet run --project ImageQueue.Web -- schema apply\", hand the scripts to a DBA (\"schema print\"), or set Storage:ApplySchema to true.");
        }

        foreach (var part in state.Missing)
            _logger.LogWarning(
                "The database {Database} lacks {Part}; run {Script}. ImageQueue works without it, but slowly.",
                Location,
                part.Name,
                part.Script);
        HangfireOptions.UseIgnoreDupKeyOption = state.HangfireVersion >= 8;
    }

    /// <summary>What is missing.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached, or has no such database.</exception>
    public Task<SchemaState> CheckSchemaAsync(CancellationToken cancellationToken) => _installer.CheckAsync(cancellationToken);

    /// <summary>Makes the database if there is none, and all in it that is missing.</summary>
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
                // Asked again each time: a database that another process has just made is there, and cannot be entered yet.
                await CreateAsync(cancellationToken);
                await Task.Delay(TimeSpan.FromMilliseconds(100 * (tries - 1)), cancellationToken);
            }
        }
    }

    private async Task CreateAsync(CancellationToken cancellationToken)
    {
        _logger.LogInformation("Making the database {Database}.", Location);
        var master = _connect(new SqlConnectionStringBuilder(ConnectionString) { InitialCatalog = "master" });
        await master.RunAsync(
            connection => connection.ExecuteAsync(new CommandDefinition(
                CreateDatabase, new StatementParameters().AddText(
                    "@Name", _connectionString.InitialCatalog, 128), commandTimeout: 0, cancellationToken: cancellationToken)),
            cancellationToken);
    }

    /// <summary>What is missing, and which scripts make it.</summary>
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
            throw new StorageSettingsException(
                $"ConnectionStrings:ImageQueue is missing. With Storage:Provider=SqlServer it names the server and the database, {example}.");
        SqlConnectionStringBuilder builder;
        try
        {
            builder = new SqlConnectionStringBuilder(connectionString);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or KeyNotFoundException)
        {
            // Not the exception's text: it may repeat a password.
            throw new StorageSettingsException(
                $"ConnectionStrings:ImageQueue cannot be read as a connection string of SQL Server. Write it {example}.");
        }

        if (builder.DataSource.Length == 0)
            throw new StorageSettingsException($"ConnectionStrings:ImageQueue names no server. Write it {example}.");
        if (builder.InitialCatalog.Length == 0)
            throw new StorageSettingsException($"ConnectionStrings:ImageQueue names no database. Write it {example}.");
        if (!builder.ContainsKey("Application Name")
            || builder.ApplicationName.StartsWith("Core Microsoft SqlClient", StringComparison.Ordinal))
            builder.ApplicationName = "ImageQueue";
        // By default the pool answers for up to a minute with the last failure instead of looking whether the server is back.
        if (!builder.ShouldSerialize("Pool Blocking Period"))
            builder.PoolBlockingPeriod = PoolBlockingPeriod.NeverBlock;
        // A port that refuses is tried until this is over, so that it is also how long a request waits for its 503.
        if (!builder.ShouldSerialize("Connect Timeout"))
            builder.ConnectTimeout = 5;
        return builder;
    }
}
