using System.Globalization;
using ImageQueue.Core.Generation;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>The images folder can be written, and its disk has room. Where not, nothing is generated; requests are taken and wait.</summary>
internal sealed class DiskCheck(ImageFiles images) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        images.WhyNotWritable() is { } why
            ? HealthCheckResult.Degraded(why)
            : HealthCheckResult.Healthy(images.FreeBytes() is { } free ? string.Create(CultureInfo.InvariantCulture, $"{free / 1e9:0.0} GB free.") : null));
}
