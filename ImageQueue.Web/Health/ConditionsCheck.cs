using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>A part of <see cref="SystemConditions"/> as a health check. What an operator has paused is healthy.</summary>
internal sealed class ConditionsCheck(string part, SystemConditions conditions, ImageFiles images) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var found = (await conditions.GetPartsAsync(cancellationToken)).Where(one => one.Part == part).SelectMany(one => one.Conditions)
            .ToList();
        var text = found.Count > 0 ? string.Join(" ", found.Select(TextOf)) : part == "disk" ? FreeSpace() : null;
        return found.Any(one => one.IsFault) ? HealthCheckResult.Degraded(text) : HealthCheckResult.Healthy(text);
    }

    private static string TextOf(SystemCondition condition) =>
        $"{condition.Text} ({(condition.By is { Length: > 0 } by ? $"by {by}, " : "")}since {condition.Since:u})";

    private string? FreeSpace() =>
        images.FreeBytes() is { } free ? string.Create(CultureInfo.InvariantCulture, $"{free / 1e9:0.0} GB free.") : null;
}
