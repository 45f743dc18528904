using System.Runtime.CompilerServices;
using System.Text.Json;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Push;

/// <summary>Serializes each change once for all watchers.</summary>
public sealed class PushWriter(
    QueuePositions positions, IOptions<JsonOptions> json, IOptions<HostingOptions> hosting, ILogger<PushWriter> logger)
{
    private readonly ConditionalWeakTable<MessageChange, PushedChange> _written = [];

    /// <summary>The changes as they are pushed, in the same order.</summary>
    public async ValueTask<IReadOnlyList<PushedChange>> WriteAsync(
        IReadOnlyList<MessageChange> changes, CancellationToken cancellationToken)
    {
        if (changes.Count == 0)
            return [];
        var live = changes.Any(change => change.Message.IsImage) ? await PositionsAsync(cancellationToken) : null;
        return [.. changes.Select(change => _written.GetValue(change, one => one.Message.IsImage
            ? Write(one, ImageProgressEvent.From(one, live, hosting.Value.PathBase))
            : Write(one, MessageResponse.From(one.Message, positions: null, hosting.Value.PathBase))))];
    }

    /// <summary>The same with each change's own, for <see cref="SlowReader"/>.</summary>
    public async ValueTask<Queue<(MessageChange Change, PushedChange Pushed)>> WritePageAsync(
        IReadOnlyList<MessageChange> changes, CancellationToken cancellationToken) =>
        new(changes.Zip(await WriteAsync(changes, cancellationToken)));

    private PushedChange Write<T>(MessageChange change, T shown) =>
        new(change.Message.IsImage, JsonSerializer.SerializeToUtf8Bytes(shown, json.Value.JsonSerializerOptions), change.ResumeFrom);

    /// <summary>Null when the positions cannot be read: changes are pushed all the same.</summary>
    private async ValueTask<LivePositions?> PositionsAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await positions.GetAsync(cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            logger.LogDebug(e, "Queue positions are unavailable; pushing the stored ones.");
            return null;
        }
    }
}
