using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using ImageQueue.Core.Messages;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Push;

/// <summary>Server-Sent Events (WHATWG HTML, section 9.2): live progress for browsers, with replay.</summary>
[ApiController]
[Tags("Push")]
public sealed class EventsController(
    IMessageStore store, MessageFeed feed, PushWriter writer, IOptions<PushOptions> options, TimeProvider time, IHostApplicationLifetime lifetime) : ControllerBase
{
    /// <summary>Every change of a conversation's images, as <c>image_progress</c> events whose id is the revision.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="lastEventId">The newest id the client has seen; what changed since comes first. Browsers send it by themselves.</param>
    /// <param name="lastEventIdInQuery">The same for clients that cannot set headers, such as a new EventSource. The header goes first: it is newer.</param>
    /// <param name="cancellationToken">Ends with the connection.</param>
    [HttpGet("/api/conversations/{conversation_id}/events")]
    [Authorize(Access.Read)]
    [TokenInAddress]
    [EnableRateLimiting(RateLimits.Streams)]
    [Produces("text/event-stream", "application/problem+json")]
    [ProducesResponseType<ImageProgressEvent>(StatusCodes.Status200OK, "text/event-stream")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status400BadRequest, "application/problem+json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    public async Task<IActionResult> GetAsync(
        [FromRoute(Name = "conversation_id")] string conversationId,
        [FromHeader(Name = "Last-Event-ID")] string? lastEventId,
        [FromQuery(Name = "last_event_id")] string? lastEventIdInQuery,
        CancellationToken cancellationToken)
    {
        if (await store.FindConversationAsync(conversationId, cancellationToken) is null)
            return MessagesController.ConversationNotFound(conversationId);
        if (!TryParse(string.IsNullOrEmpty(lastEventId) ? lastEventIdInQuery : lastEventId, out var since))
            return ApiProblem.Result(StatusCodes.Status400BadRequest, "Last-Event-ID must be a revision: the id of an event you have seen.");

        using var expiry = Expiry.Of(HttpContext, time);
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping, expiry.Token);
        try
        {
            using var subscription = await feed.WatchAsync(conversationId, since, ends.Token);
            await StreamAsync(subscription, ends.Token);
        }
        catch (OperationCanceledException) when (ends.IsCancellationRequested)
        {
            // The client has gone, or the server stops and the client comes back to the next one.
        }

        return new EmptyResult();
    }

    private static bool TryParse(string? lastEventId, out long? revision)
    {
        revision = null;
        if (string.IsNullOrEmpty(lastEventId))
            return true;
        var isNumber = long.TryParse(lastEventId, NumberStyles.None, CultureInfo.InvariantCulture, out var number);
        revision = number;
        return isNumber;
    }

    private async Task StreamAsync(FeedSubscription subscription, CancellationToken cancellationToken)
    {
        Response.ContentType = "text/event-stream; charset=utf-8";
        Response.Headers.CacheControl = "no-cache, no-transform";
        Response.Headers["X-Accel-Buffering"] = "no"; // nginx would hold events back otherwise.
        HttpContext.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();

        // An id without data is no event, but the client keeps it: one that is cut off before its first event still says where
        // it was.
        var body = Response.BodyWriter;
        Write(body, string.Create(CultureInfo.InvariantCulture, $"retry: 2000\nid: {subscription.Seen}\n\n"));
        await body.FlushAsync(cancellationToken);

        var sentAt = time.GetTimestamp();
        while (true)
        {
            var quiet = options.Value.Heartbeat - time.GetElapsedTime(sentAt);
            var changes = await subscription.NextAsync(quiet > TimeSpan.Zero ? quiet : TimeSpan.Zero, cancellationToken);
            var events = await writer.WriteAsync(changes, cancellationToken);
            foreach (var progress in events)
                body.Write(progress.ServerSentEvent.Span);
            if (events.Count == 0)
            {
                if (time.GetElapsedTime(sentAt) < options.Value.Heartbeat)
                    continue; // Only words were written.
                Write(body, ": still here\n\n");
            }

            // A client that reads slowly holds up this stream alone, which then goes on with the newest state of each message.
            await body.FlushAsync(cancellationToken);
            sentAt = time.GetTimestamp();
        }
    }

    private static void Write(PipeWriter body, string text) => Encoding.UTF8.GetBytes(text, body);
}
