using System.Reflection;
using ImageQueue.Core.Messages;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store whose database is away for as many calls as a test says.</summary>
internal class OutageStore : DispatchProxy
{
    private IMessageStore _inner = null!; // Set by Around.

    /// <summary>Claims that are refused.</summary>
    public int RefusedClaims { get; set; }

    /// <summary>Completions that are refused before anything happens.</summary>
    public int RefusedCompletes { get; set; }

    /// <summary>Completions that are stored, but whose answer is lost.</summary>
    public int LostCommits { get; set; }

    private IMessageStore Proxy { get; set; } = null!; // Set by Around.

    public static OutageStore Around(IMessageStore store)
    {
        var proxy = Create<IMessageStore, OutageStore>();
        var outage = (OutageStore)(object)proxy;
        (outage._inner, outage.Proxy) = (store, proxy);
        return outage;
    }

    public IMessageStore AsStore() => Proxy;

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        switch (targetMethod!.Name) // The runtime always gives one.
        {
            case nameof(IMessageStore.ClaimAsync) when RefusedClaims-- > 0:
            case nameof(IMessageStore.CompleteAsync) when RefusedCompletes-- > 0:
                throw Away();
            case nameof(IMessageStore.CompleteAsync) when LostCommits-- > 0:
                return LoseAsync((Task<Transition>)targetMethod.Invoke(_inner, args)!); // What it returns.
        }

        try
        {
            return targetMethod.Invoke(_inner, args);
        }
        catch (TargetInvocationException e)
        {
            throw e.InnerException!; // Always there.
        }
    }

    private static async Task<Transition> LoseAsync(Task<Transition> commit)
    {
        await commit;
        throw Away();
    }

    private static StoreUnavailableException Away() => new("The message database is away.", new IOException("away"));
}
