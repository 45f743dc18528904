using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Hosting;

/// <summary>
/// Starts a background service once the database has answered, so that it does not complain of what the start has said already. A
/// service that dies takes the host with it, as any background service's death does: half an app is worse than a restart.
/// </summary>
internal sealed class WhenReady<T>(T service, DatabaseReadiness readiness) : BackgroundService
    where T : BackgroundService
{
    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await readiness.Ready.WaitAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            return; // Stopped before the database came.
        }

        await service.StartAsync(stoppingToken);
        if (service.ExecuteTask is { } running)
            await running;
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await service.StopAsync(cancellationToken);
    }
}
