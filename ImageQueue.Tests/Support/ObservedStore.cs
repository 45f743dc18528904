using System.Collections.Concurrent;
using System.Reflection;
using ImageQueue.Core.Messages;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store that counts its calls, and whose reading of changes can be held up or made to fail.</summary>
internal class ObservedStore : DispatchProxy
{
    private readonly ConcurrentDictionary<string, int> _calls = new(StringComparer.Ordinal);
    private IMessageStore _inner = null!; // Set by Around.

    /// <summary>Runs before changes are read, with the conversation that they are asked of; null for the reader of all.</summary>
    public Func<string?, Task> BeforeReading { get; set; } = _ => Task.CompletedTask;

    /// <summary>All calls.</summary>
    public int Calls => _calls.Values.Sum();

    /// <summary>Reads of the one reader that serves all watchers.</summary>
    public int ReadsForAll => _calls.GetValueOrDefault("all");

    public static (IMessageStore Store, ObservedStore Observed) Around(IMessageStore store)
    {
        var proxy = Create<IMessageStore, ObservedStore>();
        var observed = (ObservedStore)(object)proxy;
        observed._inner = store;
        return (proxy, observed);
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        var isReading = targetMethod!.Name == nameof(IMessageStore.ChangesSinceAsync); // The runtime always gives one.
        _calls.AddOrUpdate(isReading && args![1] is null ? "all" : targetMethod.Name, 1, (_, count) => count + 1);
        return isReading
            ? ReadAsync((long)args![0]!, (string?)args[1], (int)args[2]!, (CancellationToken)args[3]!)
            : targetMethod.Invoke(_inner, args);
    }

    private async Task<IReadOnlyList<MessageChange>> ReadAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken)
    {
        await BeforeReading(conversationId);
        return await _inner.ChangesSinceAsync(revision, conversationId, limit, cancellationToken);
    }
}
