using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.Sqlite;
using Microsoft.AspNetCore.Connections;

namespace ImageQueue.Web.Startup;

/// <summary>Explains in a sentence why the app does not start, where the operator can mend it.</summary>
internal static class StartFailure
{
    /// <summary>Runs the app; explains a failed start on the error stream.</summary>
    public static async Task<int> ExplainAsync(Func<Task<int>> run)
    {
        try
        {
            return await run();
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
        CultureNotFoundException e =>
            $"Messages:Culture {e.InvalidCultureName} needs ICU, and .NET runs without it here (invariant globalization). "
            + "Install ICU (libicu), and unset DOTNET_SYSTEM_GLOBALIZATION_INVARIANT.",
        InvalidOperationException when Unreadable(exception) is { } setting => setting,
        IOException { InnerException: AddressInUseException } =>
            $"{exception.Message} Stop what listens there, or set Urls to another address.",
        AggregateException { InnerExceptions: [var only] } => SentenceOf(only),
        _ => null,
    };

    /// <summary>The configuration binder's own words about an unreadable value or an unknown key, deep inside the exception.</summary>
    private static string? Unreadable(Exception exception)
    {
        for (var e = exception; e is not null; e = e.InnerException)
        {
            if (e.Message.StartsWith("Failed to convert configuration value", StringComparison.Ordinal))
                return e.Message;
            if (e.Message.Contains("properties were not found on the instance of", StringComparison.Ordinal))
            {
                var names = e.Message[(e.Message.LastIndexOf(':') + 1)..].Trim();
                var type = e.Message.Split("instance of ")[1].Split(':')[0];
                return $"These settings are not known; are they mistyped? {names} (of {type}).";
            }
        }

        return null;
    }
}
