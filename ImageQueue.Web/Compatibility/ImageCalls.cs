using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Telemetry;
using ImageQueue.Web.Api;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>
/// Runs the calls of other APIs through the queue: a call submits its requests, waits for their end for as long as the queue needs,
/// and cancels them when its client closes the connection.
/// </summary>
internal sealed class ImageCalls(
    SubmitImageRequest submit, RequestChoices choices, CancelImageRequest cancel, RetryImageRequest retry, Callers callers,
    IMeterFactory meters, IOptions<CompatibilityOptions> options, ILogger<ImageCalls> logger)
{
    /// <summary>Most images of one call.</summary>
    public const int MaxImages = 10;

    private readonly Counter<long> _requests = meters.Create(QueueMetrics.MeterName)
        .CreateCounter<long>("imagequeue.compatibility.requests", "{request}", "Requests of calls to other APIs, by API and outcome.");

    private readonly ConcurrentDictionary<long, int> _waiting = new();

    /// <summary>The call's <c>Idempotency-Key</c>; null without one.</summary>
    public static string? KeyOf(HttpContext http) => http.Request.Headers["Idempotency-Key"] is [{ Length: > 0 } key, ..] ? key : null;

    /// <summary>Submits all images of one call, or none of them.</summary>
    /// <param name="request">Its conversation is set here.</param>
    /// <exception cref="ProblemException">The request is not valid.</exception>
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full; none was accepted.</exception>
    public async Task<ImageCall> SubmitAsync(Caller caller, ImageRequest request, CancellationToken cancellationToken)
    {
        var (checkedRequest, errors) =
            (request with { Username = caller.Username, ConversationId = caller.ConversationId }).Check(MaxImages);
        if (errors.Count == 0)
            errors = choices.Check(checkedRequest);
        if (errors.Count > 0)
            throw new ProblemException(ApiProblem.Unprocessed(errors));

        var submitted = await callers.WriteAsync(
            caller, one => submit.SubmitAllAsync(checkedRequest with { ConversationId = one.ConversationId }, cancellationToken));
        var messages = new List<Message>(submitted.Count);
        try
        {
            foreach (var one in submitted)
            {
                messages.Add(one.IsReplay ? await JoinAsync(one.Message, cancellationToken) : one.Message);
                _waiting.AddOrUpdate(one.Message.Id, 1, (_, count) => count + 1);
            }
        }
        catch
        {
            await LeaveAsync(caller.Api, messages, cancelThem: true);
            throw;
        }

        return new ImageCall(messages, last => LeaveAsync(caller.Api, last, options.Value.CancelOnHangUp));
    }

    /// <summary>A repeated call joins the first one; what that one's end has cancelled, or what failed, runs again.</summary>
    private async Task<Message> JoinAsync(Message message, CancellationToken cancellationToken) =>
        message.Status is MessageStatus.Cancelled or MessageStatus.Error
        && await retry.RetryAsync(message.Id, cancellationToken) is { Applied: true, Message: { } again }
            ? again
            : message;

    /// <summary>The call ends: what no other call of this process waits for is cancelled.</summary>
    private async Task LeaveAsync(string api, IEnumerable<Message> messages, bool cancelThem)
    {
        foreach (var message in messages)
        {
            _requests.Add(
                1, new("imagequeue.api", api), new("imagequeue.outcome", MessageWait.HasEnded(message) ? message.Status : "left"));
            var others = _waiting.AddOrUpdate(message.Id, 0, (_, count) => count - 1);
            if (others > 0)
                continue;
            _waiting.TryRemove(new(message.Id, 0));
            if (!cancelThem || MessageWait.HasEnded(message))
                continue;
            try
            {
                // The caller's token is cancelled by now, and the cancel must not be.
                if ((await cancel.CancelAsync(message.Id, CancellationToken.None)).Applied)
                    logger.LogInformation("Message {MessageId} is cancelled: the client of its call closed the connection.", message.Id);
            }
            catch (StoreUnavailableException e)
            {
                logger.LogWarning(
                    e, "Message {MessageId} could not be cancelled after its client closed the connection; it will run.", message.Id);
            }
        }
    }
}

/// <summary>A call's requests, from their submit to their end. Dispose it in any case.</summary>
/// <param name="messages">As they were submitted.</param>
/// <param name="leaveAsync">Called once with the messages as they were last seen.</param>
internal sealed class ImageCall(IReadOnlyList<Message> messages, Func<IEnumerable<Message>, Task> leaveAsync) : IAsyncDisposable
{
    private readonly Message[] _messages = [.. messages];

    /// <summary>The messages as they were last seen, in the order of the requests.</summary>
    public IReadOnlyList<Message> Messages => _messages;

    /// <exception cref="OperationCanceledException">The client has closed the connection.</exception>
    /// <exception cref="ProblemException">This process stops.</exception>
    public async Task EndAsync(CallWaits waits, CancellationToken cancellationToken)
    {
        await foreach (var _ in ChangesAsync(waits, cancellationToken))
        {
        }
    }

    /// <summary>Every change of the messages until all have ended; empty when nothing has changed for a tick.</summary>
    /// <exception cref="OperationCanceledException">The client has closed the connection.</exception>
    /// <exception cref="ProblemException">This process stops.</exception>
    public async IAsyncEnumerable<IReadOnlyList<Message>> ChangesAsync(
        CallWaits waits, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (Array.TrueForAll(_messages, MessageWait.HasEnded))
            yield break;
        await foreach (
            var changes in waits.ChangesAsync(_messages[0].ConversationId, _messages.Min(message => message.Revision), cancellationToken))
        {
            var mine = new List<Message>();
            foreach (var message in changes)
            {
                var index = Array.FindIndex(_messages, one => one.Id == message.Id);
                if (index < 0 || message.Revision <= _messages[index].Revision)
                    continue;
                _messages[index] = message;
                mine.Add(message);
            }

            if (mine.Count > 0 || changes.Count == 0)
                yield return mine;
            if (Array.TrueForAll(_messages, MessageWait.HasEnded))
                yield break;
        }
    }

    public async ValueTask DisposeAsync() => await leaveAsync(_messages);
}
