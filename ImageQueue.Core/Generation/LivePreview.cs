using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>
/// The preview of one attempt's image: taken from Forge's answers, kept as a small file, and removed with the attempt. Its failures
/// never fail the attempt.
/// </summary>
/// <remarks>
/// A crash leaves the file behind; the next start removes it. A worker that was given up for dead may remove the file of the
/// next attempt, whose next preview brings it back.
/// </remarks>
internal sealed class LivePreview(ImageFiles images, Message message, bool isEnabled, TimeProvider time, ILogger logger) : IDisposable
{
    /// <summary>Forge may decode the latent for each preview, so it is asked for one no more often than this.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>A file can be busy for a moment; a folder that cannot be written stays so.</summary>
    private const int MaxFailures = 3;

    private readonly string? _jobId = isEnabled ? message.JobId : null;
    private long? _takenAt;
    private int _failures;

    /// <summary>Whether to ask Forge for one: at each poll until there is the first, then once a second.</summary>
    public bool IsDue => _jobId is not null && _failures < MaxFailures && (_takenAt is not { } at || time.GetElapsedTime(at) >= Interval);

    public string Url => MessagePatches.PreviewUrl(_jobId ?? throw new InvalidOperationException("There is no preview."));

    /// <summary>Whether there is one newer than the last event.</summary>
    public bool HasNews { get; set; }

    /// <summary>Whether the row has its address.</summary>
    public bool IsNamed { get; set; }

    public void Take(ForgeProgress progress)
    {
        if (_jobId is null || progress.PreviewImage is not { } image)
            return;
        _takenAt = time.GetTimestamp();
        try
        {
            HasNews |= images.WritePreview(_jobId, image);
            _failures = 0;
        }
        catch (Exception e)
        {
            _failures++;
            logger.Log(
                _failures < MaxFailures ? LogLevel.Debug : LogLevel.Warning, e,
                "The live preview of message {MessageId} could not be written; generating goes on.", message.Id);
        }
    }

    public void Dispose()
    {
        if (_jobId is null)
            return;
        try
        {
            images.RemovePreview(_jobId);
        }
        catch (Exception e)
        {
            logger.LogWarning(e, "The live preview of message {MessageId} could not be removed; the next start removes it.", message.Id);
        }
    }
}
