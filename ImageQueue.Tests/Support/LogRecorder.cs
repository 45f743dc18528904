using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Tests.Support;

/// <summary>Keeps what the app logs, so that a test can hold it to it.</summary>
internal sealed class LogRecorder : ILoggerProvider
{
    private readonly ConcurrentQueue<(LogLevel Level, string Category, string Text)> _lines = new();

    public IEnumerable<string> Of(LogLevel atLeast) =>
        _lines.Where(line => line.Level >= atLeast).Select(line => $"{line.Level} {line.Category}: {line.Text}");

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
                recorder._lines.Enqueue(
                    (logLevel, category, exception is null ? formatter(state, null) : $"{formatter(state, exception)} {exception}"));
            }
        }
    }
}
