using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Messages;

/// <summary>Starts a background service once the database has answered, so that it does not complain of what the start has said already.</summary>
internal sealed class WhenReady<T>(T service, DatabaseReadiness readiness) : BackgroundService
    where T : BackgroundService
{
    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await readiness.Ready.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (stoppingToken.IsCancellationRequested)
            return;
        await service.StartAsync(stoppingToken);
        await (service.ExecuteTask ?? Task.CompletedTask).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await service.StopAsync(cancellationToken);
    }
}
