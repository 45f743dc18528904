using Microsoft.Extensions.Configuration;

namespace ImageQueue.Core.Storage;

/// <summary>Settings under <c>Storage</c>: where messages and jobs are kept.</summary>
public sealed class StorageOptions
{
    public const string Section = "Storage";

    public const string ConnectionStringName = "ImageQueue";

    /// <summary>Default of <c>ConnectionStrings:ImageQueue</c> for SQLite.</summary>
    public const string DefaultConnectionString = "Data Source=data/imagequeue.db";

    /// <summary>Default: SQLite and an in-memory job queue, for one machine without set-up.</summary>
    public StorageProvider Provider { get; set; } = StorageProvider.Sqlite;

    /// <summary>Whether the start creates missing tables. Default: true for SQLite and in Development.</summary>
    public bool? ApplySchema { get; set; }

    /// <summary>The configured provider, read before services are registered.</summary>
    /// <exception cref="StorageSettingsException">The provider is unknown.</exception>
    public static StorageProvider ProviderIn(IConfiguration configuration)
    {
        var name = configuration[$"{Section}:{nameof(Provider)}"];
        if (string.IsNullOrEmpty(name))
            return StorageProvider.Sqlite;
        return Enum.GetValues<StorageProvider>().Select(provider => (StorageProvider?)provider)
            .FirstOrDefault(provider => string.Equals(name, provider.ToString(), StringComparison.OrdinalIgnoreCase))
            ?? throw new StorageSettingsException($"Storage:Provider must be Sqlite or SqlServer, not {name}.");
    }
}

public enum StorageProvider
{
    /// <summary>A SQLite file; Hangfire in memory, rebuilt from the messages at start.</summary>
    Sqlite,

    /// <summary>SQL Server 2017 or later; Hangfire in the same database.</summary>
    SqlServer,
}
