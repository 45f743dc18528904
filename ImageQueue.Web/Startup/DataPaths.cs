using ImageQueue.Core.Storage;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Web.Startup;

/// <summary>Paths of data are relative to the folder that the app is started in: its own it may not be able to write.</summary>
internal static class DataPaths
{
    public static void ResolvePaths(this IConfigurationManager configuration, string folder)
    {
        configuration["Images:Directory"] = FullPath("Images:Directory", configuration["Images:Directory"] ?? "data/images", folder);
        if (StorageOptions.ProviderIn(configuration) != StorageProvider.Sqlite)
            return;
        var key = $"ConnectionStrings:{StorageOptions.ConnectionStringName}";
        var connectionString = Parse(key, configuration[key] ?? StorageOptions.DefaultConnectionString);
        connectionString.DataSource = FullPath(key, connectionString.DataSource, folder);
        configuration[key] = connectionString.ConnectionString;
    }

    private static SqliteConnectionStringBuilder Parse(string key, string connectionString)
    {
        SqliteConnectionStringBuilder parsed;
        try
        {
            parsed = new SqliteConnectionStringBuilder(connectionString);
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            // Not the exception's text, nor the setting's: it may hold a password.
            throw new StorageSettingsException(
                $"{key} is no connection string of SQLite, such as \"{StorageOptions.DefaultConnectionString}\". "
                    + "If it names a SQL Server, set Storage:Provider to SqlServer.");
        }

        if (parsed.Password.Length > 0)
        {
            throw new StorageSettingsException(
                $"{key} holds a Password, but the SQLite in ImageQueue cannot encrypt. Remove it, and encrypt the disk.");
        }

        if (parsed.Mode == SqliteOpenMode.Memory
            || parsed.DataSource.Contains(":memory:", StringComparison.OrdinalIgnoreCase)
            || parsed.DataSource.Contains("mode=memory", StringComparison.OrdinalIgnoreCase))
        {
            throw new StorageSettingsException(
                $"{key} names a database in memory, which would lose every request at a restart. "
                + $"Name a file, such as \"{StorageOptions.DefaultConnectionString}\".");
        }

        return parsed.DataSource.Length > 0
            ? parsed
            : throw new StorageSettingsException($"{key} names no file. Write it such as \"{StorageOptions.DefaultConnectionString}\".");
    }

    private static string FullPath(string key, string path, string folder)
    {
        if (path.Length == 0 || path.Contains('\0'))
            throw new StorageSettingsException($"{key} names no path.");
        return Path.GetFullPath(path, folder);
    }
}
