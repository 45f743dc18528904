using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.SqlServer;

namespace ImageQueue.Web.Startup;

/// <summary><c>schema print|apply|check</c>: the database's scripts from the command line, without starting the app.</summary>
internal static class SchemaCommand
{
    private const string Usage =
        """
        Usage: dotnet run --project ImageQueue.Web -- schema <verb>
          print   writes the whole script, Hangfire's tables included; needs no server
          apply   makes what is missing in the database of ConnectionStrings:ImageQueue, and the database itself
          check   says what is missing there; exit code 0 when nothing is
        The connection string comes from the settings, such as the environment's ConnectionStrings__ImageQueue.
        """;

    /// <returns>The exit code: 0 done, 1 something is missing or wrong, 2 not understood.</returns>
    public static async Task<int> RunAsync(string[] verbs, IConfiguration configuration, TextWriter output, TextWriter errors)
    {
        try
        {
            switch (verbs)
            {
                case ["print"]:
                    await output.WriteAsync(SqlServerDatabase.Script);
                    return 0;
                case ["apply" or "check"]:
                    var connectionString = configuration.GetConnectionString(StorageOptions.ConnectionStringName);
                    var database = new SqlServerDatabase(connectionString, applySchema: false, new WriterLogger(output));
                    if (verbs is ["apply"])
                        await database.ApplySchemaAsync(CancellationToken.None);
                    return await CheckAsync(database, output);
                default:
                    await errors.WriteLineAsync(Usage);
                    return 2;
            }
        }
        catch (Exception e) when (e is StorageSettingsException or StoreUnavailableException)
        {
            await errors.WriteLineAsync(e is StoreUnavailableException ? $"{e.Message} ({e.InnerException?.Message})" : e.Message);
            return 1;
        }
    }

    private static async Task<int> CheckAsync(SqlServerDatabase database, TextWriter output)
    {
        var state = await database.CheckSchemaAsync(CancellationToken.None);
        foreach (var part in state.Missing)
            await output.WriteLineAsync($"Missing: {part.Name}; run {part.Script}.");
        if (!state.HasSnapshots)
        {
            await output.WriteLineAsync(
                "Advice: switch READ_COMMITTED_SNAPSHOT on, so that readers do not wait for writers; "
                    + "\"schema apply\" does it while nothing else is connected.");
        }

        if (state.CompatibilityProblem is { } problem)
        {
            await output.WriteLineAsync($"{database.Location} {problem}.");
            return 1;
        }

        await output.WriteLineAsync(state.Missing.Count == 0
            ? $"{database.Location} has all that this release needs."
            : $"{database.Location} lacks {state.Missing.Count} of what this release needs.");
        return state.Missing.Count == 0 ? 0 : 1;
    }

    /// <summary>Shows the scripts' own messages.</summary>
    private sealed class WriterLogger(TextWriter output) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                output.WriteLine(formatter(state, exception));
        }
    }
}
