using System.Text.Json.Serialization;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;

namespace ImageQueue.Web.Compatibility;

/// <summary>The body of <c>POST /internal/progress</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
internal sealed record A1111TaskBody(string? IdTask, long? IdLivePreview, bool? LivePreview);

/// <summary>Progress and interrupt of the caller's own images.</summary>
/// <remarks>A1111 and Forge <c>modules/progress.py</c>.</remarks>
internal sealed class A1111Task(
    A1111Callers callers, IMessageStore store, CancelImageRequest cancel, QueuePositions positions, ImageFiles files)
{
    /// <summary>How many of the caller's newest messages are looked at.</summary>
    private const int Newest = 100;

    /// <summary>The idempotency key of a task.</summary>
    public static string KeyOf(string taskId) => $"task:{taskId}";

    /// <summary>The answer of <c>GET /sdapi/v1/progress</c>: of the caller's image in progress, else of its first that waits.</summary>
    public async Task<object> GlobalAsync(HttpContext http, bool withImage, CancellationToken cancellationToken)
    {
        var newest = (await NewestAsync(http, cancellationToken)).ToList();
        var current = newest.Find(message => message.Status == MessageStatus.Processing)
            ?? newest.Find(message => message.Status == MessageStatus.Queued);
        var eta = current is null ? null : (await positions.GetAsync(cancellationToken)).EtaOf(current);

        // As at A1111, the flag stays until the next image begins: clients look here when an image is missing.
        var isInterrupted = current is null && newest is [.., { Status: MessageStatus.Cancelled }];
        return Global(current, isInterrupted, eta, withImage ? PreviewOf(current) : null);
    }

    private static object Global(Message? current, bool isInterrupted, double? eta, string? preview)
    {
        var steps = current is null ? 0 : GenerationSettings.Of(current).Steps ?? 0;
        return new
        {
            progress = (current?.Progress ?? 0) / 100.0,
            eta_relative = eta ?? 0,
            state = new
            {
                skipped = false,
                interrupted = isInterrupted,
                stopping_generation = false,
                job = current?.JobId ?? "",
                job_count = current is null ? 0 : 1,
                job_timestamp = current?.QueuedAt?.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture) ?? "0",
                job_no = 0,
                sampling_step = steps * (current?.Progress ?? 0) / 100,
                sampling_steps = steps,
            },
            current_image = preview,
            textinfo = current is { Status: MessageStatus.Queued } ? $"In queue: {current.QueuePosition}" : null,
        };
    }

    /// <summary>The preview of a message in base64; null when there is none.</summary>
    public string? PreviewOf(Message? message) =>
        message is { PreviewUrl: not null, JobId: { } jobId } && files.ReadPreview(jobId) is { } jpeg ? Convert.ToBase64String(jpeg) : null;

    /// <summary>The answer of <c>POST /internal/progress</c>.</summary>
    public async Task<object> ProgressAsync(HttpContext http, A1111TaskBody body, CancellationToken cancellationToken)
    {
        var mine = (await NewestAsync(http, cancellationToken)).Where(message => IsOf(message, body.IdTask)).ToList();
        var current = mine.Find(
            message => message.Status == MessageStatus.Processing) ?? mine.Find(message => message.Status == MessageStatus.Queued);
        var preview = body.LivePreview == false ? null : PreviewOf(current);
        var isNew = preview is not null && current!.Revision != body.IdLivePreview;
        return new
        {
            active = current?.Status == MessageStatus.Processing,
            queued = current?.Status == MessageStatus.Queued,
            completed = current is null && mine.Count > 0,
            progress = current is null ? (double?)null : current.Progress / 100.0,
            eta = current is null ? null : (await positions.GetAsync(cancellationToken)).EtaOf(current),
            live_preview = isNew ? $"data:image/jpeg;base64,{preview}" : null,
            id_live_preview = current is not null && preview is not null ? current.Revision : -1,
            textinfo = current switch
            {
                { Status: MessageStatus.Queued } => $"In queue: {current.QueuePosition}",
                null => "Waiting...",
                _ => null,
            },
        };
    }

    /// <summary>The tasks of the caller's that wait, the next one first.</summary>
    public async Task<IReadOnlyList<string>> WaitingAsync(HttpContext http, CancellationToken cancellationToken) =>
    [
        .. (await UnfinishedAsync(http, cancellationToken)).Where(message => message.Status == MessageStatus.Queued)
            .Select(message => TaskOf(message) ?? message.JobId ?? "").Distinct(StringComparer.Ordinal),
    ];

    /// <summary>Cancels the caller's images in progress, as A1111 does; when there is none, those that wait.</summary>
    public async Task InterruptAsync(HttpContext http, CancellationToken cancellationToken)
    {
        var unfinished = await UnfinishedAsync(http, cancellationToken);
        var running = unfinished.Where(message => message.Status == MessageStatus.Processing).ToList();
        foreach (var message in running.Count > 0 ? running : unfinished)
            await cancel.CancelAsync(message.Id, cancellationToken);
    }

    private static string? TaskOf(Message message) =>
        message.IdempotencyKey is { } key && key.StartsWith(KeyOf(""), StringComparison.Ordinal) && key.LastIndexOf('#') is > 0 and var end
            ? key[KeyOf("").Length..end]
            : null;

    private static bool IsOf(Message message, string? taskId) => taskId is { Length: > 0 } && TaskOf(message) == taskId;

    private async Task<List<Message>> UnfinishedAsync(HttpContext http, CancellationToken cancellationToken) =>
        [.. (await NewestAsync(http, cancellationToken)).Where(message => !ImageCall.HasEnded(message))];

    /// <summary>In the order of their ids.</summary>
    private async Task<IEnumerable<Message>> NewestAsync(HttpContext http, CancellationToken cancellationToken) =>
        (await store.ListBackwardsAsync(callers.Of(http).ConversationId, long.MaxValue, Newest, cancellationToken))
            .Where(message => message.IsImage).OrderBy(message => message.Id);
}
