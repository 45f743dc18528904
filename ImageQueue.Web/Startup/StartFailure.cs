using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Startup;

/// <summary>Ends a start that cannot succeed with one line that says why, and an exit code; not with a dump.</summary>
internal static class StartFailure
{
    /// <summary>Runs the app.</summary>
    /// <param name="run">Gives the exit code of a run that began.</param>
    /// <returns>The process's exit code.</returns>
    public static async Task<int> ExplainAsync(Func<Task<int>> run)
    {
        try
        {
            return await run();
        }
        catch (Exception e) when (Sentence(e) is { } sentence)
        {
            using var log = LoggerFactory.Create(logging => logging.AddConsole());
            log.CreateLogger("ImageQueue").LogCritical("ImageQueue cannot start: {Reason}", sentence);
            return 1;
        }
    }

    /// <summary>
    /// What a start can fail at, looked at before the host begins: the host would log the same with its stack.
    /// </summary>
    public static async Task<DatabaseStart> CheckStartAsync(this WebApplication app)
    {
        app.Services.GetService<IStartupValidator>()?.Validate();
        var start = app.Services.GetRequiredService<DatabaseStart>();
        await start.StartingAsync(CancellationToken.None);
        return start;
    }

    private static string? Sentence(Exception e) => e switch
    {
        OptionsValidationException options => string.Join(" ", options.Failures),
        StorageSettingsException or SchemaException or StoreUnavailableException or DatabaseInUseException => e.Message,
        InvalidOperationException { InnerException: FormatException } => e.Message, // A setting that is no number, time or so on; it names the key.
        AggregateException many when many.InnerExceptions.All(inner => Sentence(inner) is not null) => string.Join(" ", many.InnerExceptions.Select(Sentence)),
        IOException { InnerException: Microsoft.AspNetCore.Connections.AddressInUseException } => $"{e.Message} Set Urls to another address.",
        _ => null,
    };
}
