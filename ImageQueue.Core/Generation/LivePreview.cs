using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Generation;

/// <summary>
/// What can be seen of one attempt's image while it is generated: taken from Forge's answers, kept as a small file, and gone with
/// the attempt. It is a courtesy: whatever goes wrong with it stays here.
/// </summary>
/// <remarks>
/// A crash leaves the file behind; the next start removes it. A worker that was given up for dead may remove the file of the
/// attempt after its own, whose next preview brings it back.
/// </remarks>
internal sealed class LivePreview : IDisposable
{
    /// <summary>Forge may decode the latent for each preview, so it is asked for one no more often than this.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>A file can be busy for a moment; a folder that cannot be written stays so.</summary>
    private const int MaxFailures = 3;

    private readonly ImageFiles _images;
    private readonly Message _message;
    private readonly string? _jobId;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private long? _takenAt;
    private int _failures;

    public LivePreview(ImageFiles images, Message message, bool isWanted, TimeProvider time, ILogger logger)
    {
        (_images, _message, _time, _logger) = (images, message, time, logger);
        _jobId = isWanted ? message.JobId : null;
    }

    /// <summary>Whether Forge should be asked for one: often until there is the first, then gently.</summary>
    public bool IsDue => _jobId is not null && _failures < MaxFailures && (_takenAt is not { } at || _time.GetElapsedTime(at) >= Interval);

    /// <summary>Where it is served.</summary>
    public string Url => MessagePatches.PreviewUrl(_jobId ?? throw new InvalidOperationException("There is no preview."));

    /// <summary>Whether there is one that watchers have not been told of.</summary>
    public bool HasNews { get; set; }

    /// <summary>Whether the row says where it is.</summary>
    public bool IsNamed { get; set; }

    /// <summary>Keeps what Forge has sent, if it has.</summary>
    public void Take(ForgeProgress progress)
    {
        if (_jobId is null || progress.PreviewImage is not { } image)
            return;
        _takenAt = _time.GetTimestamp();
        try
        {
            HasNews |= _images.WritePreview(_jobId, image);
            _failures = 0;
        }
        catch (Exception e)
        {
            _failures++;
            _logger.Log(
                _failures < MaxFailures ? LogLevel.Debug : LogLevel.Warning, e, "The live preview of message {MessageId} could not be written; generating goes on.", _message.Id);
        }
    }

    /// <summary>Removes the file.</summary>
    public void Dispose()
    {
        if (_jobId is null)
            return;
        try
        {
            _images.RemovePreview(_jobId);
        }
        catch (Exception e)
        {
            _logger.LogWarning(e, "The live preview of message {MessageId} could not be removed; the next start does.", _message.Id);
        }
    }
}
