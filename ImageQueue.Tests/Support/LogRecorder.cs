using System.Collections.Concurrent;

namespace ImageQueue.Tests.Support;

/// <summary>Keeps what the app logs, so that a test can hold it to it.</summary>
internal sealed class LogRecorder : ILoggerProvider, ISupportExternalScope
{
    private readonly ConcurrentQueue<(LogLevel Level, string Category, string Text, string? MessageId)> _lines = new();
    private IExternalScopeProvider? _scopes;

    public IEnumerable<string> Of(LogLevel atLeast) =>
        _lines.Where(line => line.Level >= atLeast).Select(line => $"{line.Level} {line.Category}: {line.Text}");

    /// <summary>The lines that have <c>MessageId</c> among their values or scopes.</summary>
    public IEnumerable<string> OfMessage(long id) =>
        _lines.Where(line => line.MessageId == id.ToString(CultureInfo.InvariantCulture)).Select(line => $"{line.Level}: {line.Text}");

    public void SetScopeProvider(IExternalScopeProvider scopeProvider) => _scopes = scopeProvider;

    public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

    public void Dispose()
    {
        // Nothing to let go of: lines are wanted after the app has stopped.
    }

    public override string ToString() => string.Join('\n', Of(LogLevel.Information));

    private sealed class Logger(LogRecorder recorder, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                var messageId = IdIn(state);
                recorder._scopes?.ForEachScope((scope, _) => messageId ??= IdIn(scope), (object?)null);
                recorder._lines.Enqueue(
                    (logLevel,
                    category,
                    exception is null ? formatter(state, null) : $"{formatter(state, exception)} {exception}",
                    messageId));
            }
        }

        private static string? IdIn(object? values) => (values as IEnumerable<KeyValuePair<string, object?>>)
            ?.FirstOrDefault(value => value.Key == "MessageId").Value is { } id
                ? Convert.ToString(id, CultureInfo.InvariantCulture)
                : null;
    }
}
