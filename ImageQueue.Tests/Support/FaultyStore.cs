using System.Collections.Concurrent;
using System.Reflection;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store around the real one that counts its calls, and refuses, delays or follows those that a test names.</summary>
internal class FaultyStore : DispatchProxy
{
    /// <summary>A conversation, user or message whose rows cannot be reached, where <see cref="PutAround"/> is used.</summary>
    public const string AwayName = "away";

    public const long AwayId = 999_503;

    /// <summary>A conversation, user or message whose calls throw an unexpected exception, where <see cref="PutAround"/> is used.</summary>
    public const string BrokenName = "broken";

    public const long BrokenId = 999_500;

    private readonly ConcurrentDictionary<string, int> _calls = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _refusals = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _losses = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Func<Task>> _hooks = new(StringComparer.Ordinal);
    private IMessageStore _inner = null!; // Both set by Around.

    public IMessageStore Store { get; private set; } = null!;

    /// <summary>By method and arguments: the exception to throw; null: none.</summary>
    public Func<string, object?[], Exception?> Fault { get; set; } = (_, _) => null;

    /// <summary>Runs before changes are read, with the conversation that is read; null for the reader of all.</summary>
    public Func<string?, Task> BeforeReading { get; set; } = _ => Task.CompletedTask;

    /// <summary>The messages that <see cref="IFeedStore.ReadChangesAsync"/> was asked for.</summary>
    public ConcurrentQueue<long> ReadMessages { get; } = new();

    public int Calls => _calls.Values.Sum();

    /// <summary>Reads of the one reader that serves all watchers.</summary>
    public int ReadsForAll => CallsOf(nameof(IFeedStore.ListChangesAsync));

    public int CallsOf(string method) => _calls.GetValueOrDefault(method);

    public static Exception Away() => new StoreUnavailableException("The message database is away.", new IOException("away"));

    public static Exception Broken() => new InvalidOperationException("a defect that no caller may read");

    public static FaultyStore Around(IMessageStore store, Func<string, object?[], Exception?>? fault = null)
    {
        var proxy = Create<IMessageStore, FaultyStore>();
        var faulty = (FaultyStore)(object)proxy;
        (faulty._inner, faulty.Store, faulty.Fault) = (store, proxy, fault ?? faulty.Fault);
        return faulty;
    }

    /// <summary>Puts one around the app's own store, and <see cref="Faults"/> among the services.</summary>
    public static void PutAround(IServiceCollection services, Func<string, Exception?>? fault = null)
    {
        services.AddSingleton<Faults>();
        var own = services.Last(service => service.ServiceType == typeof(IMessageStore)).ImplementationFactory!; // Registered with one.
        services.AddSingleton(provider =>
            Around(
                (IMessageStore)own(provider),
                (method, args) => NamedFault(args) ?? fault?.Invoke(method) ?? provider.GetRequiredService<Faults>().Of(method)).Store);
    }

    /// <summary>Refuses the next calls of a method before anything happens.</summary>
    public void Refuse(string method, int times) => _refusals[method] = times;

    /// <summary>Loses the answers of the next transitions of a method, which are stored.</summary>
    public void Lose(string method, int times) => _losses[method] = times;

    /// <summary>Runs a hook once, after the next transition of a method and before its answer.</summary>
    public FaultyStore After(string method, Func<Task> hook)
    {
        _hooks[method] = hook;
        return this;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        var method = targetMethod!.Name; // The runtime always gives both.
        _calls.AddOrUpdate(method, 1, (_, count) => count + 1);
        if (Fault(method, args!) is { } fault)
            throw fault;
        if (TakeOne(_refusals, method))
            throw Away();
        if (TakeOne(_losses, method))
            return LoseAsync((Task<Transition>)Call(targetMethod, args)!);
        if (_hooks.TryRemove(method, out var hook))
            return ThenAsync((Task<Transition>)Call(targetMethod, args)!, hook);
        switch (method)
        {
            case nameof(IFeedStore.ListChangesAsync):
                return DelayAsync(null, () => (Task<ChangedRows>)Call(targetMethod, args)!);
            case nameof(IFeedStore.ChangesSinceAsync):
                return DelayAsync((string?)args![1] ?? "", () => (Task<IReadOnlyList<MessageChange>>)Call(targetMethod, args)!);
            case nameof(IFeedStore.ReadChangesAsync):
                foreach (var id in (IReadOnlyCollection<long>)args![0]!)
                    ReadMessages.Enqueue(id);
                break;
        }

        return Call(targetMethod, args);
    }

    private object? Call(MethodInfo method, object?[]? args)
    {
        try
        {
            return method.Invoke(_inner, args);
        }
        catch (TargetInvocationException e)
        {
            throw e.InnerException!; // Always there.
        }
    }

    private static bool TakeOne(ConcurrentDictionary<string, int> counts, string method) =>
        counts.ContainsKey(method) && counts.AddOrUpdate(method, -1, (_, count) => count - 1) >= 0;

    private static async Task<Transition> LoseAsync(Task<Transition> commit)
    {
        await commit;
        throw Away();
    }

    private static async Task<Transition> ThenAsync(Task<Transition> transition, Func<Task> hook)
    {
        var result = await transition;
        await hook();
        return result;
    }

    private async Task<T> DelayAsync<T>(string? conversationId, Func<Task<T>> read)
    {
        await BeforeReading(conversationId);
        return await read();
    }

    private static Exception? NamedFault(object?[] args)
    {
        var named = args.Where(arg => arg is not CancellationToken).Select(arg => arg switch
        {
            NewMessage message => message.ConversationId,
            IReadOnlyList<NewImageMessage> messages => messages[0].ConversationId,
            Upload upload => upload.ConversationId,
            _ => arg,
        }).ToList();
        return named.Contains(AwayName) || named.Contains(AwayId)
            ? Away()
            : named.Contains(BrokenName) || named.Contains(BrokenId) ? Broken() : null;
    }

    /// <summary>The faults of one app.</summary>
    public sealed class Faults
    {
        /// <summary>What the calls that name nothing throw; null: nothing.</summary>
        public Func<Exception>? OfNameless { get; set; }

        internal Exception? Of(string method) =>
            method is nameof(IMessageStore.CountAsync) or nameof(IMessageStore.LatestRevisionAsync) or nameof(IMessageStore.FindUploadAsync)
                ? OfNameless?.Invoke() : null;
    }
}
