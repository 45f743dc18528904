using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>The web app's data-protection keys, in the database that its machines share.</summary>
public sealed class SqlServerKeyRing
{
    private const int NameSize = 100;

    private const string Read = "SELECT key_xml FROM dbo.data_protection_keys ORDER BY id;";

    // A key whose name exists is the same key, sent again after a lost answer.
    private const string Add =
        """
        INSERT INTO dbo.data_protection_keys (friendly_name, key_xml)
        SELECT @Name, @Xml
        WHERE NOT EXISTS (SELECT 1 FROM dbo.data_protection_keys WITH (UPDLOCK, HOLDLOCK) WHERE friendly_name = @Name);
        """;

    private readonly SqlServerConnections _connections;

    public SqlServerKeyRing(SqlServerDatabase database)
        : this(database.Connections)
    {
    }

    internal SqlServerKeyRing(SqlServerConnections connections) => _connections = connections;

    /// <summary>All keys, in the order in which they were added.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached.</exception>
    public async Task<IReadOnlyList<string>> ReadAllAsync(CancellationToken cancellationToken) => [.. await _connections.RunAsync(
        connection => connection.QueryAsync<string>(new CommandDefinition(Read, cancellationToken: cancellationToken)), cancellationToken)];

    /// <summary>Adds a key under its unique name.</summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached; nothing was added.</exception>
    public async Task AddAsync(string name, string xml, CancellationToken cancellationToken) => await _connections.RunAsync(
        connection => connection.ExecuteAsync(new CommandDefinition(
            Add, new StatementParameters().AddText("@Name", name, NameSize).AddText("@Xml", xml), cancellationToken: cancellationToken)),
        cancellationToken);
}
