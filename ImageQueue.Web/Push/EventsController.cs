using ImageQueue.Core.Telemetry;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Push;

/// <summary>Live changes as Server-Sent Events (WHATWG HTML, section 9.2), with replay.</summary>
[ApiController]
[Tags("Push")]
[ProducesResponseType<ServerSentEvents>(StatusCodes.Status200OK, ServerSentEvents.ContentType)]
public sealed class EventsController(
    MessageFeed feed, PushWriter writer, QueueMetrics metrics, IOptions<PushOptions> options, TimeProvider time,
    IHostApplicationLifetime lifetime) : ControllerBase
{
    private static readonly byte[] Heartbeat = ": still here\n\n"u8.ToArray();

    /// <summary>Most conversations that one stream can be narrowed to.</summary>
    internal const int MaxConversations = 100;

    /// <summary>Every change of a conversation, as events whose id is the revision. The conversation need not have a message yet.</summary>
    /// <remarks>
    /// An image's change is an `image_progress`, a plain message's a `message`. A browser over HTTP/1.1 has six connections to
    /// one server for all its tabs: share one stream among them (SharedWorker, or `GET /api/events` for several conversations).
    /// </remarks>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="lastEventId">The newest id the client has seen; later changes are replayed first. Browsers send it by
    /// themselves.</param>
    /// <param name="lastEventIdInQuery">The same for clients that cannot set headers, such as a new EventSource. The header wins: it is
    /// newer.</param>
    [HttpGet("/api/conversations/{conversation_id}/events", Name = "watchConversation")]
    [Authorize(Access.Read)]
    [TokenInAddress]
    [Stream]
    [Problem(404, ProblemCodes.NotFound), Problem(400, ProblemCodes.InvalidRequest), Problem(422, ProblemCodes.InvalidRequest)]
    [Problem(503, ProblemCodes.Stopping)]
    public Task<IActionResult> GetAsync(
        [ConversationId] string conversationId, [FromHeader(Name = "Last-Event-ID")] string? lastEventId,
        [FromQuery(Name = "last_event_id")] string? lastEventIdInQuery, CancellationToken cancellationToken) =>
        AnswerAsync(conversationId, _ => true, lastEventId, lastEventIdInQuery, cancellationToken);

    /// <summary>Every change of all conversations, or of some, in one stream; for servers.</summary>
    /// <param name="conversationIds">Only these conversations, at most 100; all, when none is given.</param>
    /// <param name="lastEventId">The newest id the client has seen; later changes are replayed first, each message in its newest
    /// state.</param>
    /// <param name="lastEventIdInQuery">The same for clients that cannot set headers. The header wins: it is newer.</param>
    [HttpGet("/api/events", Name = "watchAll")]
    [Authorize(Access.Overview)]
    [Stream]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(422, ProblemCodes.InvalidRequest), Problem(503, ProblemCodes.Stopping)]
    public async Task<IActionResult> GetAllAsync(
        [FromQuery(Name = "conversation_id")] string[]? conversationIds, [FromHeader(Name = "Last-Event-ID")] string? lastEventId,
        [FromQuery(Name = "last_event_id")] string? lastEventIdInQuery, CancellationToken cancellationToken)
    {
        if (conversationIds is not { Length: > 0 })
            return await AnswerAsync(null, _ => true, lastEventId, lastEventIdInQuery, cancellationToken);
        var problem = conversationIds.Length > MaxConversations
            ? $"One stream can be narrowed to {MaxConversations} conversations at most, not {conversationIds.Length}. "
                + $"Leave {ConversationIdAttribute.ParameterName} out to get all."
            : conversationIds.Select(ConversationIdAttribute.Problem).FirstOrDefault(sentence => sentence is not null);
        if (problem is not null)
        {
            return ApiProblem.Result(
                ProblemCodes.InvalidRequest, problem, ConversationIdAttribute.ParameterName, StatusCodes.Status422UnprocessableEntity);
        }

        var wanted = conversationIds.Select(StoredName.Normalize).ToHashSet(StringComparer.Ordinal);
        return await AnswerAsync(
            wanted.Count == 1 ? wanted.First() : null, change =>
                wanted.Contains(change.Message.ConversationId), lastEventId, lastEventIdInQuery, cancellationToken);
    }

    private async Task<IActionResult> AnswerAsync(
        string? conversationId, Func<MessageChange, bool> isWanted, string? lastEventId, string? lastEventIdInQuery,
        CancellationToken cancellationToken)
    {
        // Event-source polyfills put the id into the query under names of their own.
        string?[] ids = [lastEventId, lastEventIdInQuery, Request.Query["lastEventId"], Request.Query["Last-Event-ID"]];
        var seen = ids.FirstOrDefault(id => !string.IsNullOrEmpty(id));
        long? since = long.TryParse(seen, NumberStyles.None, CultureInfo.InvariantCulture, out var revision) ? revision : null;
        if (seen is not null && since is null)
        {
            return ApiProblem.Result(
                ProblemCodes.InvalidRequest, "Last-Event-ID must be a revision: the id of an event you have seen.", "Last-Event-ID");
        }

        if (HttpMethods.IsHead(Request.Method))
        {
            StartResponse();
            return new EmptyResult();
        }

        using var expiry = Expiry.Of(HttpContext, time);
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping, expiry.Token);
        try
        {
            using var subscription = await feed.WatchAsync(conversationId, since, ends.Token);
            using var watching = metrics.TrackStream("sse");
            await StreamAsync(subscription, isWanted, ends.Token);
        }
        catch (OperationCanceledException)
        {
            // The client has gone, or this process stops: the client reconnects elsewhere and replays.
        }
        catch (TimeoutException)
        {
            // The client has read nothing for too long. What Kestrel still holds for it goes with the connection.
            HttpContext.Abort();
        }

        return new EmptyResult();
    }

    private void StartResponse()
    {
        Response.ContentType = $"{ServerSentEvents.ContentType}; charset=utf-8";
        Response.Headers.CacheControl = "no-cache, no-transform";
        Response.Headers["X-Accel-Buffering"] = "no"; // nginx would hold events back otherwise.
        HttpContext.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
    }

    private async Task StreamAsync(FeedSubscription subscription, Func<MessageChange, bool> isWanted, CancellationToken cancellationToken)
    {
        StartResponse();
        SlowReader.LimitSendBuffer(HttpContext);

        // An id without data is no event, but the client keeps it: cut off before its first event, it still reconnects at the
        // right revision.
        var stream = new EventStream(Response.BodyWriter, options.Value.SlowestReader, time);
        var start = string.Create(CultureInfo.InvariantCulture, $"retry: 2000\nid: {subscription.Seen}\n\n");
        await stream.WriteAsync(Encoding.UTF8.GetBytes(start), cancellationToken);
        await stream.FlushAsync(cancellationToken);

        var sentAt = time.GetTimestamp();
        while (true)
        {
            var quiet = options.Value.Heartbeat - time.GetElapsedTime(sentAt);
            var changes = await subscription.NextAsync(quiet > TimeSpan.Zero ? quiet : TimeSpan.Zero, cancellationToken);
            if (!WatcherReach.Covers(User, changes))
                return;
            var page = await writer.WritePageAsync([.. changes.Where(isWanted)], Request.PathBase.Value, cancellationToken);
            changes = [];
            if (page.Count == 0)
            {
                if (time.GetElapsedTime(sentAt) < options.Value.Heartbeat)
                    continue; // Only other conversations have changed.
                await stream.WriteAsync(Heartbeat, cancellationToken);
            }

            await subscription.DeliverAsync(page, change => stream.WriteAsync(change.ServerSentEvent, cancellationToken), time);
            await stream.FlushAsync(cancellationToken);
            sentAt = time.GetTimestamp();
        }
    }
}
