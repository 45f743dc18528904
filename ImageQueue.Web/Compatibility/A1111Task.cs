using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json.Serialization;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Api;

namespace ImageQueue.Web.Compatibility;

/// <summary>The body of <c>POST /internal/progress</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
internal sealed record A1111TaskBody(string? IdTask, long? IdLivePreview, bool? LivePreview);

/// <summary>Progress and interrupt of the caller's own images.</summary>
/// <remarks>A1111 and Forge <c>modules/progress.py</c>.</remarks>
internal sealed class A1111Task(
    A1111Calls calls, IMessageStore store, CancelImageRequest cancel, QueuePositions positions, ImageFiles files)
{
    /// <summary>How many of the caller's newest messages are looked at.</summary>
    private const int Newest = 100;

    public static string KeyOf(string taskId) => $"task:{taskId}";

    /// <summary>The answer of <c>GET /sdapi/v1/progress</c>: of the caller's image in progress, else of its first that waits.</summary>
    public async Task<object> GlobalAsync(HttpContext http, bool withImage, CancellationToken cancellationToken)
    {
        var newest = await NewestAsync(http, cancellationToken);
        var current = CurrentOf(newest);
        var steps = current is null ? 0 : GenerationSettings.Of(current).Steps ?? 0;
        return new
        {
            progress = (current?.Progress ?? 0) / 100.0,
            eta_relative = await EtaOfAsync(current, cancellationToken) ?? 0,
            state = new
            {
                skipped = false,
                // As at A1111, the flag stays until the next image begins: clients look here when an image is missing.
                interrupted = current is null && newest is [.., { Status: MessageStatus.Cancelled }],
                stopping_generation = false,
                job = current?.JobId ?? "",
                job_count = current is null ? 0 : 1,
                job_timestamp = current?.QueuedAt?.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture) ?? "0",
                job_no = 0,
                sampling_step = steps * (current?.Progress ?? 0) / 100,
                sampling_steps = steps,
            },
            current_image = withImage && PreviewOf(current) is { } preview ? Convert.ToBase64String(preview) : null,
            textinfo = WaitOf(current),
        };
    }

    /// <summary>The answer of <c>POST /internal/progress</c>.</summary>
    public async Task<object> ProgressAsync(HttpContext http, A1111TaskBody body, CancellationToken cancellationToken)
    {
        var newest = await NewestAsync(http, cancellationToken);
        var mine = newest.FindAll(message => body.IdTask is { Length: > 0 } task && TaskOf(message, newest) == task);
        var current = CurrentOf(mine);
        var preview = body.LivePreview == false ? null : PreviewOf(current);
        var previewId = preview is null ? -1 : BinaryPrimitives.ReadInt32LittleEndian(SHA256.HashData(preview)) & int.MaxValue;
        return new
        {
            active = current?.Status == MessageStatus.Processing,
            queued = current?.Status == MessageStatus.Queued,
            completed = current is null && mine.Count > 0,
            progress = current?.Progress / 100.0,
            eta = await EtaOfAsync(current, cancellationToken),
            live_preview =
                preview is null || previewId == body.IdLivePreview ? null : $"data:image/jpeg;base64,{Convert.ToBase64String(preview)}",
            id_live_preview = previewId,
            textinfo = current is null ? "Waiting..." : WaitOf(current),
        };
    }

    /// <summary>The tasks of the caller's that wait, the next one first.</summary>
    public async Task<IReadOnlyList<string>> WaitingAsync(HttpContext http, CancellationToken cancellationToken)
    {
        var newest = await NewestAsync(http, cancellationToken);
        return
        [
            .. newest.Where(message => message.Status == MessageStatus.Queued)
                .Select(message => TaskOf(message, newest) ?? message.JobId ?? "").Distinct(StringComparer.Ordinal),
        ];
    }

    /// <summary>
    /// Ends the caller's call that is being generated, with all its images, as A1111 does; when there is none, all that wait.
    /// </summary>
    public async Task InterruptAsync(HttpContext http, CancellationToken cancellationToken)
    {
        var unfinished = (await NewestAsync(http, cancellationToken)).FindAll(message => !MessageWait.HasEnded(message));
        var running = unfinished.FindAll(message => message.Status == MessageStatus.Processing);
        await CancelAsync(
            running.Count == 0 ? unfinished : unfinished.FindAll(message => running.Exists(one => IsSameCall(one, message))),
            cancellationToken);
    }

    /// <summary>Cancels the caller's images that are being generated; their calls go on with the next.</summary>
    public async Task SkipAsync(HttpContext http, CancellationToken cancellationToken) => await CancelAsync(
        (await NewestAsync(http, cancellationToken)).FindAll(message => message.Status == MessageStatus.Processing), cancellationToken);

    private async Task CancelAsync(List<Message> messages, CancellationToken cancellationToken)
    {
        foreach (var message in messages.AsEnumerable().Reverse()) // The next image of a call must not begin meanwhile.
            await cancel.CancelAsync(message.Id, cancellationToken);
    }

    private static bool IsSameCall(Message one, Message other) =>
        one.Id == other.Id || (one.GroupId is not null && one.GroupId == other.GroupId);

    /// <summary>The first image of a call has its key; the others are of its group.</summary>
    private static string? TaskOf(Message message, List<Message> newest)
    {
        var first = message.GroupId is { } group ? newest.Find(other => other.GroupId == group) : message;
        return first?.IdempotencyKey is { } key && key.StartsWith(KeyOf(""), StringComparison.Ordinal) ? key[KeyOf("").Length..] : null;
    }

    private static Message? CurrentOf(List<Message> messages) => messages.Find(message => message.Status == MessageStatus.Processing)
        ?? messages.Find(message => message.Status == MessageStatus.Queued);

    private static string? WaitOf(Message? message) =>
        message is { Status: MessageStatus.Queued } ? $"In queue: {message.QueuePosition}" : null;

    private byte[]? PreviewOf(Message? message) =>
        message is { PreviewUrl: not null, JobId: { } jobId } ? files.ReadPreview(jobId) : null;

    private async Task<double?> EtaOfAsync(Message? message, CancellationToken cancellationToken) =>
        message is null ? null : (await positions.GetAsync(cancellationToken)).EtaOf(message);

    /// <summary>In the order of their ids.</summary>
    private async Task<List<Message>> NewestAsync(HttpContext http, CancellationToken cancellationToken) =>
    [
        .. (await store.ListBackwardsAsync(calls.Of(http).ConversationId, long.MaxValue, Newest, cancellationToken))
            .Where(message => message.IsImage).OrderBy(message => message.Id),
    ];
}
