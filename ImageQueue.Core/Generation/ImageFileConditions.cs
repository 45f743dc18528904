using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Generation;

/// <summary>An images folder that cannot be written, or a full disk: nothing is dequeued then.</summary>
internal sealed class ImageFileConditions(ImageFiles images) : IConditionSource
{
    public string Part => "disk";

    public string UnavailableCode => ConditionCodes.NotWritable;

    // Away from the caller's thread: a network folder can take long to answer.
    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) => Task.Run<IReadOnlyList<SystemCondition>>(
        () => images.WhyNotWritable() is { } reason ? [new(ConditionCodes.NotWritable, reason, Stops: true)] : [], cancellationToken);
}
