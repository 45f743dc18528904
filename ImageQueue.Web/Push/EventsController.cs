using System.Globalization;
using System.Text;
using System.Text.Json;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Api;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Push;

/// <summary>Server-Sent Events (WHATWG HTML, section 9.2): live progress for browsers, with replay.</summary>
[ApiController]
[Tags("Push")]
public sealed class EventsController(
    IMessageStore store, MessageFeed feed, QueuePositions positions, IOptions<JsonOptions> json, IHostApplicationLifetime lifetime) : ControllerBase
{
    /// <summary>Keeps proxies from closing a silent connection, and finds out that a client is gone.</summary>
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(15);

    /// <summary>Every change of a conversation's images, as <c>image_progress</c> events whose id is the revision.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="lastEventId">The newest id the client has seen; what changed since comes first. Browsers send it by themselves.</param>
    /// <param name="cancellationToken">Ends with the connection.</param>
    [HttpGet("/api/conversations/{conversation_id}/events")]
    [Produces("text/event-stream", "application/problem+json")]
    [ProducesResponseType<ImageProgressEvent>(StatusCodes.Status200OK, "text/event-stream")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    public async Task<IActionResult> GetAsync(
        [FromRoute(Name = "conversation_id")] string conversationId,
        [FromHeader(Name = "Last-Event-ID")] string? lastEventId,
        CancellationToken cancellationToken)
    {
        if (await store.FindConversationAsync(conversationId, cancellationToken) is null)
            return MessagesController.ConversationNotFound(conversationId);
        if (!TryParse(lastEventId, out var since))
            return ApiProblem.Result(StatusCodes.Status400BadRequest, "Last-Event-ID must be a revision: the id of an event you have seen.");

        using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, lifetime.ApplicationStopping);
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
        await SendAsync("retry: 2000\n\n", cancellationToken);

        while (true)
        {
            var changes = await subscription.NextAsync(HeartbeatInterval, cancellationToken);
            var images = changes.Where(change => change.Message.IsImage).ToList();
            if (images.Count > 0)
            {
                var live = await positions.GetAsync(cancellationToken);
                await SendAsync(string.Concat(images.Select(change => Format(ImageProgressEvent.From(change, live)))), cancellationToken);
            }
            else if (changes.Count == 0)
            {
                await SendAsync(": still here\n\n", cancellationToken);
            }
        }
    }

    private string Format(ImageProgressEvent progress) => string.Create(
        CultureInfo.InvariantCulture,
        $"id: {progress.Revision}\nevent: {ImageProgressEvent.Name}\ndata: {JsonSerializer.Serialize(progress, json.Value.JsonSerializerOptions)}\n\n");

    private async Task SendAsync(string text, CancellationToken cancellationToken)
    {
        await Response.WriteAsync(text, Encoding.UTF8, cancellationToken);
        await Response.Body.FlushAsync(cancellationToken);
    }
}
