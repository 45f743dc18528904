using ImageQueue.Core.Backends;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>The queue as a whole.</summary>
[ApiController]
[Tags("Queue")]
public sealed class QueueController(
    QueuePositions positions, IMessageStore store, BackendPool pool, Pauses pauses, IOptions<QueueOptions> options) : ControllerBase
{
    /// <summary>How many requests wait, how many are being generated, and the state of the backends.</summary>
    [HttpGet("/api/queue", Name = "getQueue")]
    [Authorize(Access.Overview)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    public async Task<QueueOverview> GetAsync(CancellationToken cancellationToken)
    {
        var live = await positions.GetAsync(cancellationToken);
        return new QueueOverview(
            await positions.CountAsync(cancellationToken), await store.CountAsync(MessageStatus.Processing, cancellationToken),
            pauses.OfQueue is not null,
            [.. pool.Status.Select(backend => new BackendResponse(
                backend.Name, backend.Healthy, backend.Busy, backend.Paused,
                backend.Drain is { } drain ? new DrainingResponse(drain.Since, drain.Why) : null))],
            live.SecondsPerImage,
            live.AsOf,
            JsonNamingPolicy.SnakeCaseLower.ConvertName(options.Value.Order.ToString()));
    }

    /// <summary>Pauses the queue: within a second no process starts a request; those being generated finish.</summary>
    [HttpPost("/api/queue/pause", Name = "pauseQueue")]
    [Authorize(Access.Operate)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    public async Task<QueueOverview> PauseAsync(CancellationToken cancellationToken)
    {
        await pauses.PauseQueueAsync(Operator, cancellationToken);
        return await GetAsync(cancellationToken);
    }

    /// <summary>Resumes the queue.</summary>
    [HttpPost("/api/queue/resume", Name = "resumeQueue")]
    [Authorize(Access.Operate)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    public async Task<QueueOverview> ResumeAsync(CancellationToken cancellationToken)
    {
        await pauses.ResumeQueueAsync(cancellationToken);
        return await GetAsync(cancellationToken);
    }

    /// <summary>Pauses one Forge backend for every process; the image that it is generating is finished.</summary>
    [HttpPost("/api/backends/{name}/pause", Name = "pauseBackend")]
    [Authorize(Access.Operate)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> PauseBackendAsync(string name, CancellationToken cancellationToken) =>
        await pauses.PauseBackendAsync(name, Operator, cancellationToken) ? Ok(await GetAsync(cancellationToken)) : BackendNotFound(name);

    /// <summary>Resumes one Forge backend.</summary>
    [HttpPost("/api/backends/{name}/resume", Name = "resumeBackend")]
    [Authorize(Access.Operate)]
    [ProducesResponseType<QueueOverview>(StatusCodes.Status200OK, "application/json")]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> ResumeBackendAsync(string name, CancellationToken cancellationToken) =>
        await pauses.ResumeBackendAsync(name, cancellationToken) ? Ok(await GetAsync(cancellationToken)) : BackendNotFound(name);

    private string Operator => User.Identity?.Name ?? "";

    private static IActionResult BackendNotFound(string name) =>
        ApiProblem.Result(ProblemCodes.NotFound, $"No Forge is called {name}. GET /api/queue lists their names.");
}

/// <summary>The queue as a whole.</summary>
/// <param name="Waiting">Requests that wait.</param>
/// <param name="Processing">Requests that are being generated.</param>
/// <param name="Paused">Whether an operator has paused the queue.</param>
/// <param name="Backends">The Forge backends of the process that answered.</param>
/// <param name="SecondsPerImage">Recent average per image; null until one has been measured.</param>
/// <param name="AsOf">When this was true, UTC.</param>
/// <param name="Order">Which waiting request is next: `fifo` (by submission) or `fair_share` (the users' requests in turn).</param>
public sealed record QueueOverview(
    int Waiting, int Processing, bool Paused, IReadOnlyList<BackendResponse> Backends, double? SecondsPerImage, DateTimeOffset AsOf,
    string Order);

/// <summary>A Forge backend; only operators see its address.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Healthy">Null until it has been probed.</param>
/// <param name="Busy">Whether it is generating.</param>
/// <param name="Paused">Whether an operator has paused it.</param>
/// <param name="Draining">Null unless it may still generate what no request needs any more; it gets no request until that is over.</param>
public sealed record BackendResponse(string Name, bool? Healthy, bool Busy, bool Paused, DrainingResponse? Draining);

/// <summary>What keeps a healthy backend from requests.</summary>
/// <param name="Since">When it began, UTC.</param>
/// <param name="Why">What left a task there.</param>
public sealed record DrainingResponse(DateTimeOffset Since, string Why);
