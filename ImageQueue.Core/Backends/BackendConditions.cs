using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>The queue's pause, as a condition.</summary>
internal sealed class PauseConditions(Pauses pauses) : IConditionSource
{
    public string Part => "queue";

    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<SystemCondition>>(
        pauses.OfQueue is { } pause
            ? [new(ConditionCodes.QueuePaused, "The queue is paused.", Stops: true, IsFault: false) { Since = pause.At, By = pause.By }]
            : []);
}

/// <summary>Unhealthy, paused and draining backends.</summary>
internal sealed class BackendConditions(BackendPool pool, Pauses pauses, TimeProvider time) : IConditionSource
{
    /// <summary>A drain after a cancel is over sooner, and no news.</summary>
    private static readonly TimeSpan LongDrain = TimeSpan.FromSeconds(5);

    public string Part => "backends";

    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken)
    {
        var backends = pool.Status;
        var conditions = backends.Select(OneOf).OfType<SystemCondition>().ToList();
        if (backends.Count > 0 && backends.All(backend => backend.Paused))
        {
            conditions.Insert(0, new(ConditionCodes.NoBackend, "All backends are paused.", Stops: true, IsFault: false));
        }
        else if (!backends.Any(backend => backend is { Healthy: true, Paused: false }))
        {
            conditions.Insert(
                0, new(ConditionCodes.NoBackend, "No backend is healthy. Requests wait.", Stops: true) { Since = pool.NoneHealthySince });
        }

        return Task.FromResult<IReadOnlyList<SystemCondition>>(conditions);
    }

    private SystemCondition? OneOf(BackendStatus backend) => backend switch
    {
        { Paused: true } => new(ConditionCodes.BackendPaused, $"Backend {backend.Name} is paused.", IsFault: false)
        { Subject = backend.Name, Since = pauses.Of(backend.Name)?.At, By = pauses.Of(backend.Name)?.By },
        { Healthy: false } =>
            new(ConditionCodes.BackendUnhealthy, $"Backend {backend.Name} is unhealthy: {backend.LastError?.TrimEnd('.')}.")
            { Subject = backend.Name, Since = backend.Since },
        { Healthy: null } =>
            new(ConditionCodes.BackendUnhealthy, $"Backend {backend.Name} has not been probed yet.")
            { Subject = backend.Name, Since = backend.Since },
        { Drain: { } drain } when time.GetUtcNow() - drain.Since >= LongDrain =>
            new(ConditionCodes.BackendDraining, $"Backend {backend.Name} drains and gets no request: {drain.Why}.", IsFault: false)
            { Subject = backend.Name, Since = drain.Since },
        _ => null,
    };
}

/// <summary>Configured models that no backend has.</summary>
internal sealed class ModelConditions(IForgeCatalogue catalogue) : IConditionSource
{
    public string Part => "models";

    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<SystemCondition>>(
        [
            .. catalogue.MissingModels.Select(model => new SystemCondition(
                ConditionCodes.ModelMissing, $"Model {model.Name} is on no backend: none lists checkpoint {model.Defaults.Checkpoint}.")
            { Subject = model.Name }),
        ]);
}
