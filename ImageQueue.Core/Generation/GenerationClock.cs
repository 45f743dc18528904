namespace ImageQueue.Core.Generation;

/// <summary>How long an image has been generated: waiting in Forge's own queue and loading a model do not count.</summary>
internal sealed class GenerationClock(TimeProvider time)
{
    private long _startedAt = time.GetTimestamp();
    private long _stoppedAt;

    public TimeSpan Elapsed => time.GetElapsedTime(
        Interlocked.Read(ref _startedAt), Interlocked.Read(ref _stoppedAt) is > 0 and var stopped ? stopped : time.GetTimestamp());

    /// <summary>Sampling has not started yet.</summary>
    public void Restart() => Interlocked.Exchange(ref _startedAt, time.GetTimestamp());

    /// <summary>The image is here.</summary>
    public void Stop() => Interlocked.Exchange(ref _stoppedAt, time.GetTimestamp());
}
