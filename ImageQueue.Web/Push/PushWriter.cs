using System.Text.Json;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Push;

/// <summary>Writes each change once, for all who watch: a thousand watchers cost a thousand copies of bytes, not a thousand serialisations.</summary>
public sealed class PushWriter(QueuePositions positions, IOptions<JsonOptions> json, ILogger<PushWriter> logger)
{
    /// <summary>The changes as they are pushed, in the same order; those of plain messages are left out.</summary>
    public async ValueTask<IReadOnlyList<PushedProgress>> WriteAsync(IReadOnlyList<MessageChange> changes, CancellationToken cancellationToken)
    {
        if (!changes.Any(change => change.Message.IsImage))
            return [];
        var live = await PositionsAsync(cancellationToken);
        return [.. changes.Where(change => change.Message.IsImage).Select(change => change.Shown(one => Write(ImageProgressEvent.From(one, live), one.ResumeFrom)))];
    }

    private PushedProgress Write(ImageProgressEvent progress, long resumeFrom) =>
        new(JsonSerializer.SerializeToUtf8Bytes(progress, json.Value.JsonSerializerOptions), resumeFrom);

    /// <summary>A queue that cannot be asked keeps nobody's picture from being announced.</summary>
    private async ValueTask<LivePositions?> PositionsAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await positions.GetAsync(cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            logger.LogDebug(e, "The queue cannot be asked; positions are pushed as they are stored.");
            return null;
        }
    }
}
