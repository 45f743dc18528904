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
    SubmitImageRequest submit, RequestChoices choices, RetryImageRequest retry, Callers callers, SharedCalls shared, IMeterFactory meters,
    IOptions<CompatibilityOptions> options)
{
    /// <summary>Most images of one call.</summary>
    public const int MaxImages = 10;

    private readonly Counter<long> _requests = meters.Create(QueueMetrics.MeterName)
        .CreateCounter<long>("imagequeue.compatibility.requests", "{request}", "Requests of calls to other APIs, by API and outcome.");

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

        CallKey? key = checkedRequest.IdempotencyKey is { } named ? new(caller.Api, checkedRequest.Username, named) : null;
        await shared.EnterAsync(key, cancellationToken);
        var (messages, retried) = (new List<Message>(), new List<Message>());
        try
        {
            var submitted = await callers.WriteAsync(
                caller, one => submit.SubmitAllAsync(checkedRequest with { ConversationId = one.ConversationId }, cancellationToken));
            foreach (var one in submitted)
            {
                var joined = one.IsReplay ? await JoinAsync(one.Message, cancellationToken) : one.Message;
                messages.Add(joined);
                if (joined != one.Message)
                    retried.Add(joined);
            }
        }
        catch
        {
            await LeaveAsync(key, caller.Api, retried, cancelThem: true); // All others were accepted before.
            throw;
        }

        return new ImageCall(messages, last => LeaveAsync(key, caller.Api, last, options.Value.CancelOnHangUp));
    }

    /// <summary>A repeated call joins the first one; what that one's end has cancelled, or what failed, runs again.</summary>
    private async Task<Message> JoinAsync(Message message, CancellationToken cancellationToken) =>
        message.Status is MessageStatus.Cancelled or MessageStatus.Error
            ? (await retry.RetryAsync(message.Id, cancellationToken)).Message ?? message // Another call may have been quicker.
            : message;

    private async Task LeaveAsync(CallKey? key, string api, IReadOnlyCollection<Message> messages, bool cancelThem)
    {
        foreach (var message in messages)
        {
            _requests.Add(
                1, new("imagequeue.api", api), new("imagequeue.outcome", MessageWait.HasEnded(message) ? message.Status : "left"));
        }

        await shared.LeaveAsync(key, messages, cancelThem);
    }
}

/// <summary>A call's requests, from their submit to their end. Dispose it in any case.</summary>
/// <param name="messages">As they were submitted.</param>
/// <param name="leaveAsync">Called once with the messages as they were last seen.</param>
internal sealed class ImageCall(IReadOnlyList<Message> messages, Func<IReadOnlyCollection<Message>, Task> leaveAsync) : IAsyncDisposable
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
