using System.Collections.Concurrent;
using System.Text.Json.Nodes;

namespace ImageQueue.Tests.Support;

/// <summary>What a browser's EventSource does: reads events, and after every end connects again with the last id it saw.</summary>
internal sealed class ReconnectingReader : IAsyncDisposable
{
    private readonly CancellationTokenSource _end = new();
    private readonly Task _reading;

    public ReconnectingReader(Uri address, string path)
    {
        _reading = ReadAsync(address, path);
    }

    public ConcurrentQueue<JsonObject> Events { get; } = new();

    /// <summary>How many connections were made.</summary>
    public int Connections { get; private set; }

    /// <summary>The newest status of a message.</summary>
    public string? StatusOf(long id) => (string?)Events.LastOrDefault(progress => (long)progress["message_id"]! == id)?["status"];

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _reading;
        _end.Dispose();
    }

    private async Task ReadAsync(Uri address, string path)
    {
        using var http = new HttpClient { BaseAddress = address };
        string? last = null;
        while (!_end.IsCancellationRequested)
        {
            SseReader? events = null;
            try
            {
                using (events = await SseReader.OpenAsync(http, path, last))
                using (_end.Token.Register(events.Dispose))
                {
                    Connections++;
                    while (true)
                        Events.Enqueue(await events.ReadAsync(Timeout.InfiniteTimeSpan));
                }
            }
            catch (Exception e) when (e is HttpRequestException or IOException or ObjectDisposedException)
            {
                last = events?.LastEventId is { Length: > 0 } id ? id : last;
                await Task.Delay(100, CancellationToken.None);
            }
        }
    }
}
