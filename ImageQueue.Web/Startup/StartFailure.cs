using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Startup;

/// <summary>Says in a sentence why the app does not start, where the reason is the operator's to mend and no mistake of ours.</summary>
internal static class StartFailure
{
    /// <summary>Runs the app; what keeps it from starting is said on the error stream and in the exit code.</summary>
    /// <returns>The process's exit code.</returns>
    public static async Task<int> ExplainAsync(Func<Task> run)
    {
        try
        {
            await run();
            return 0;
        }
        catch (Exception e) when (SentenceOf(e) is { } sentence)
        {
            await Console.Error.WriteLineAsync($"ImageQueue cannot start. {sentence}");
            return 1;
        }
    }

    /// <summary>The sentence; null when it is a mistake of ours.</summary>
    internal static string? SentenceOf(Exception exception) => exception switch
    {
        OptionsValidationException e => string.Join(Environment.NewLine, e.Failures),
        StorageSettingsException or SchemaException or StoreUnavailableException or DatabaseInUseException => exception.Message,
        InvalidOperationException { InnerException: FormatException } => exception.Message, // A setting that is no number, time or so on.
        IOException { InnerException: AddressInUseException } => $"{exception.Message} Stop what listens there, or set Urls to another address.",
        AggregateException { InnerExceptions: [var only] } => SentenceOf(only),
        _ => null,
    };
}
