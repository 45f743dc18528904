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

    /// <summary>The messages that the reader of all has read whole.</summary>
    public ConcurrentQueue<long> ReadMessages { get; } = new();

    /// <summary>All calls.</summary>
    public int Calls => _calls.Values.Sum();

    /// <summary>Calls of one method.</summary>
    public int CallsOf(string method) => _calls.GetValueOrDefault(method);

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
        switch (targetMethod!.Name) // The runtime always gives one.
        {
            case nameof(IFeedStore.ListChangesAsync):
                Count("all");
                return AfterAsync(null, () => _inner.ListChangesAsync((long)args![0]!, (int)args[1]!, (CancellationToken)args[2]!));
            case nameof(IFeedStore.ChangesSinceAsync):
                Count(targetMethod.Name);
                return AfterAsync(
                    (string?)args![1] ?? "", () => _inner.ChangesSinceAsync((long)args[0]!, (string?)args[1], (int)args[2]!, (CancellationToken)args[3]!));
            case nameof(IFeedStore.ReadChangesAsync):
                foreach (var id in (IReadOnlyCollection<long>)args![0]!)
                    ReadMessages.Enqueue(id);
                goto default;
            default:
                Count(targetMethod.Name);
                return targetMethod.Invoke(_inner, args);
        }
    }

    private void Count(string name) => _calls.AddOrUpdate(name, 1, (_, count) => count + 1);

    private async Task<T> AfterAsync<T>(string? conversationId, Func<Task<T>> read)
    {
        await BeforeReading(conversationId);
        return await read();
    }
}
