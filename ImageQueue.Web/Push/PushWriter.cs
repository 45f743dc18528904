using System.Runtime.CompilerServices;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Push;

/// <summary>Serializes each change once for all watchers that come by one path base.</summary>
public sealed class PushWriter(QueuePositions positions, IOptions<JsonOptions> json, IOptions<HostingOptions> hosting)
{
    private readonly ConditionalWeakTable<MessageChange, PushedChange> _written = [];

    /// <summary>The changes as they are pushed, in the same order.</summary>
    /// <param name="pathBase">The path base of the watcher's connection, before addresses of images; null: the configured one.</param>
    public async ValueTask<IReadOnlyList<PushedChange>> WriteAsync(
        IReadOnlyList<MessageChange> changes, string? pathBase, CancellationToken cancellationToken)
    {
        if (changes.Count == 0)
            return [];
        LivePositions? live = changes.Any(change => change.Message.IsImage) ? await positions.GetAsync(cancellationToken) : null;
        pathBase ??= hosting.Value.PathBase;
        return [.. changes.Select(change =>
            _written.GetValue(change, Write) is { } shared && shared.PathBase == pathBase ? shared : Write(change))];

        PushedChange Write(MessageChange change) => change.Message.IsImage
            ? ToPushed(change, ImageProgressEvent.From(change, live, pathBase), pathBase)
            : ToPushed(change, MessageResponse.From(change.Message, positions: null, pathBase), pathBase);
    }

    /// <summary>The same with each change's own, for <see cref="SlowReader"/>.</summary>
    public async ValueTask<Queue<(MessageChange Change, PushedChange Pushed)>> WritePageAsync(
        IReadOnlyList<MessageChange> changes, string? pathBase, CancellationToken cancellationToken) =>
        new(changes.Zip(await WriteAsync(changes, pathBase, cancellationToken)));

    private PushedChange ToPushed<T>(MessageChange change, T shown, string pathBase) => new(
        change.Message.IsImage, JsonSerializer.SerializeToUtf8Bytes(shown, json.Value.JsonSerializerOptions), change.ResumeFrom)
    {
        PathBase = pathBase,
    };
}
