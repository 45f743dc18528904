using System.Net.ServerSentEvents;
using System.Text.Json.Nodes;

namespace ImageQueue.Tests.Support;

/// <summary>Reads events from a real connection.</summary>
internal sealed class SseReader : IDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly SseParser<string> _parser;
    private readonly IAsyncEnumerator<SseItem<string>> _events;

    private SseReader(HttpResponseMessage response, SseParser<string> parser)
    {
        _response = response;
        _parser = parser;
        _events = parser.EnumerateAsync().GetAsyncEnumerator();
    }

    /// <summary>What to come back with; also of an id that came without an event.</summary>
    public string LastEventId => _parser.LastEventId;

    /// <summary>What the last event that was read is called.</summary>
    public string LastEventName { get; private set; } = "";

    public HttpResponseMessage Response => _response;

    public static async Task<SseReader> OpenAsync(HttpClient http, string path, string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (lastEventId is not null)
            request.Headers.Add("Last-Event-ID", lastEventId);
        var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        return new SseReader(response, SseParser.Create(await response.Content.ReadAsStreamAsync()));
    }

    /// <summary>The next event; fails after half a minute.</summary>
    public Task<JsonObject> ReadAsync() => ReadAsync(TimeSpan.FromSeconds(30));

    /// <summary>The next event; fails after the given time.</summary>
    public async Task<JsonObject> ReadAsync(TimeSpan patience)
    {
        if (!await _events.MoveNextAsync().AsTask().WaitAsync(patience))
            throw new EndOfStreamException("The server has ended the events.");
        LastEventName = _events.Current.EventType;
        return JsonNode.Parse(_events.Current.Data)!.AsObject();
    }

    /// <summary>Events up to and including the first that fits.</summary>
    public async Task<List<JsonObject>> ReadUntilAsync(Func<JsonObject, bool> isLast)
    {
        var events = new List<JsonObject>();
        do
        {
            events.Add(await ReadAsync());
        }
        while (!isLast(events[^1]));
        return events;
    }

    public void Dispose() => _response.Dispose();
}
