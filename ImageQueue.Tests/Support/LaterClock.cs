namespace ImageQueue.Tests.Support;

/// <summary>The system's clock, some time later.</summary>
internal sealed class LaterClock(TimeSpan by) : TimeProvider
{
    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + by;
}
