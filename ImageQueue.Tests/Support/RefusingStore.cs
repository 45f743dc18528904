using System.Reflection;
using ImageQueue.Core.Messages;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store at which those calls fail that a test says.</summary>
internal class RefusingStore : DispatchProxy
{
    private IMessageStore _inner = null!; // Both set by Around.
    private Func<string, object?[], Exception?> _fault = null!;

    /// <param name="store">The real one.</param>
    /// <param name="fault">By method and arguments: what to throw; null: nothing.</param>
    public static IMessageStore Around(IMessageStore store, Func<string, object?[], Exception?> fault)
    {
        var proxy = Create<IMessageStore, RefusingStore>();
        var faulty = (RefusingStore)(object)proxy;
        (faulty._inner, faulty._fault) = (store, fault);
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        if (_fault(targetMethod!.Name, args ?? []) is { } fault) // The runtime always gives one.
            throw fault;
        try
        {
            return targetMethod.Invoke(_inner, args);
        }
        catch (TargetInvocationException e)
        {
            throw e.InnerException!; // Always there.
        }
    }
}
