using System.Reflection;
using ImageQueue.Core.Queue;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A queue order around the real one, some of whose calls fail as Hangfire's storage does.</summary>
internal class FaultyOrder : DispatchProxy
{
    private IQueueOrder _inner = null!; // Both set by Around.
    private Func<string, Exception?> _fault = null!;

    /// <param name="fault">By method: the exception to throw; null: none.</param>
    public static IQueueOrder Around(IQueueOrder order, Func<string, Exception?> fault)
    {
        var proxy = Create<IQueueOrder, FaultyOrder>();
        var faulty = (FaultyOrder)proxy;
        (faulty._inner, faulty._fault) = (order, fault);
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => _fault(targetMethod!.Name) is { } fault
        ? throw fault
        : targetMethod.Invoke(_inner, BindingFlags.DoNotWrapExceptions, null, args, null); // The runtime always gives the method.
}
#pragma warning restore CA1852
