namespace ImageQueue.Core.Queue;

/// <summary>Where finished images go; no job is dequeued while it cannot take one.</summary>
public interface IImageStorage
{
    /// <summary>Why no image can be stored now, as a sentence for operators; null when one can.</summary>
    string? WhyNotWritable();
}
