using ImageQueue.Core.Hosting;
using ImageQueue.Core.Requests;

namespace ImageQueue.Core.Recovery;

/// <summary>Finishes erasures of conversations that a crash interrupted: a closed conversation with messages left.</summary>
internal sealed class ErasureReconciler(
    EraseMessages erase, DatabaseReadiness readiness, TimeProvider time, ILogger<ErasureReconciler> logger)
    : PeriodicService(readiness, time, logger)
{
    protected override string Activity => "Erasing closed conversations";

    protected override TimeSpan Interval => TimeSpan.FromMinutes(5);

    protected override Task RunPassAsync(CancellationToken cancellationToken) => erase.FinishAsync(cancellationToken);
}
