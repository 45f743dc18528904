namespace ImageQueue.Core.Generation;

/// <summary>How long an image has been generated: waiting in Forge's own queue and loading a model do not count.</summary>
internal sealed class GenerationClock(TimeProvider time)
{
    private long _startedAt = time.GetTimestamp();

    public TimeSpan Elapsed => time.GetElapsedTime(Interlocked.Read(ref _startedAt));

    /// <summary>Sampling has not started yet.</summary>
    public void Restart() => Interlocked.Exchange(ref _startedAt, time.GetTimestamp());
}
