using System.Reflection;
using ImageQueue.Core.Messages;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store at which a test does something at the very moment after one method has come true, once.</summary>
internal class HookedStore : DispatchProxy
{
    private IMessageStore _inner = null!; // All set by After.
    private string _method = null!;
    private Func<Task> _hook = null!;
    private int _isDone;

    public static IMessageStore After(IMessageStore store, string method, Func<Task> hook)
    {
        var proxy = Create<IMessageStore, HookedStore>();
        var hooked = (HookedStore)(object)proxy;
        (hooked._inner, hooked._method, hooked._hook) = (store, method, hook);
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        try
        {
            var result = targetMethod!.Invoke(_inner, args); // The runtime always gives one.
            return targetMethod.Name == _method && Interlocked.Exchange(ref _isDone, 1) == 0 ? ThenAsync((Task<Transition>)result!) : result;
        }
        catch (TargetInvocationException e)
        {
            throw e.InnerException!; // Always there.
        }
    }

    private async Task<Transition> ThenAsync(Task<Transition> transition)
    {
        var result = await transition;
        await _hook();
        return result;
    }
}
