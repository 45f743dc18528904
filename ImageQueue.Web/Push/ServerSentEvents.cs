namespace ImageQueue.Web.Push;

/// <summary>
/// A stream of events (WHATWG HTML, section 9.2): never a JSON document, but one event after the other, each with its
/// <c>id</c>, its <c>event</c> and, in <c>data</c>, a JSON object.
/// </summary>
public sealed class ServerSentEvents
{
    /// <summary>The media type.</summary>
    public const string ContentType = "text/event-stream";
}
