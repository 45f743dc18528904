using ImageQueue.Core.Messages;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Web.Startup;

/// <summary>Paths in the settings are relative to the app's content root, not to wherever it was started from.</summary>
internal static class DataPaths
{
    /// <summary>Makes the data paths absolute.</summary>
    public static void ResolvePaths(this IConfigurationManager configuration, string contentRoot)
    {
        configuration["Images:Directory"] = Path.GetFullPath(configuration["Images:Directory"] ?? "data/images", contentRoot);
        if (StorageOptions.ProviderIn(configuration) != StorageProvider.Sqlite)
            return;
        var key = $"ConnectionStrings:{StorageOptions.ConnectionStringName}";
        var connectionString = new SqliteConnectionStringBuilder(configuration[key] ?? StorageOptions.DefaultConnectionString);
        connectionString.DataSource = Path.GetFullPath(connectionString.DataSource, contentRoot);
        configuration[key] = connectionString.ConnectionString;
    }
}
