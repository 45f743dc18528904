using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>The queue as a whole.</summary>
[ApiController]
[Tags("Queue")]
public sealed class QueueController(QueuePositions positions, IMessageStore store, ForgePool pool) : ControllerBase
{
    /// <summary>How many wait, how many are being painted, and on what.</summary>
    [HttpGet("/api/queue", Name = "getQueue")]
    [Authorize(Access.Overview)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    public async Task<QueueOverview> GetAsync(CancellationToken cancellationToken)
    {
        var live = await positions.GetAsync(cancellationToken);
        return new QueueOverview(
            await positions.CountAsync(cancellationToken),
            await store.CountAsync(MessageStatus.Processing, cancellationToken),
            Paused: false,
            [.. pool.Status.Select(backend => new BackendResponse(backend.Name, backend.Healthy, backend.Busy))],
            live.SecondsPerImage,
            live.AsOf);
    }
}

/// <summary>The queue as a whole.</summary>
/// <param name="Waiting">Requests that wait.</param>
/// <param name="Processing">Requests that are being painted.</param>
/// <param name="Paused">Whether an operator has stopped the queue.</param>
/// <param name="Backends">The Forge servers of the process that answered.</param>
/// <param name="SecondsPerImage">What a picture took lately; null until there is anything to go by.</param>
/// <param name="AsOf">When this was true, UTC.</param>
public sealed record QueueOverview(
    int Waiting, int Processing, bool Paused, IReadOnlyList<BackendResponse> Backends, double? SecondsPerImage, DateTimeOffset AsOf);

/// <summary>A Forge server; its address is the operators' business.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Healthy">Null while nobody has asked it yet.</param>
/// <param name="Busy">Whether it is painting.</param>
public sealed record BackendResponse(string Name, bool? Healthy, bool Busy);
