using Microsoft.Extensions.Logging.Console;

namespace ImageQueue.Web.Startup;

/// <summary>Outside Development the console has one line for each log entry, with time and scopes; in a container as JSON.</summary>
internal static class ConsoleFormat
{
    private const string Time = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";

    /// <summary>Only the options: <c>Logging:Console</c> in the settings comes first.</summary>
    public static void AddConsoleFormat(this WebApplicationBuilder builder)
    {
        var console = builder.Configuration.GetSection("Logging:Console");
        if (builder.Environment.IsDevelopment() || console.Exists())
            return;
        var isContainer = builder.Configuration["DOTNET_RUNNING_IN_CONTAINER"] is "true" or "1";
        builder.Services.Configure<ConsoleLoggerOptions>(
            options => options.FormatterName = isContainer ? ConsoleFormatterNames.Json : ConsoleFormatterNames.Simple);
        builder.Services.Configure<SimpleConsoleFormatterOptions>(options =>
        {
            (options.SingleLine, options.ColorBehavior) = (true, LoggerColorBehavior.Disabled);
            (options.IncludeScopes, options.UseUtcTimestamp, options.TimestampFormat) = (true, true, Time);
        });
        builder.Services.Configure<JsonConsoleFormatterOptions>(options =>
            (options.IncludeScopes, options.UseUtcTimestamp, options.TimestampFormat) = (true, true, Time.TrimEnd()));
    }
}
