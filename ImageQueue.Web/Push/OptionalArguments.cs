using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Protocol;

namespace ImageQueue.Web.Push;

/// <summary>
/// SignalR's JSON protocol, where a call may leave out last arguments that can be null: <c>Watch("demo")</c> means
/// <c>Watch("demo", null)</c>. SignalR itself refuses any other number of arguments (JsonHubProtocol.BindTypes).
/// </summary>
internal sealed class OptionalArguments(IHubProtocol inner) : IHubProtocol
{
    public string Name => inner.Name;

    public int Version => inner.Version;

    public TransferFormat TransferFormat => inner.TransferFormat;

    public bool TryParseMessage(ref ReadOnlySequence<byte> input, IInvocationBinder binder, [NotNullWhen(true)] out HubMessage? message)
    {
        var start = input;
        if (!inner.TryParseMessage(ref input, binder, out message))
            return false;
        if (message is InvocationBindingFailureMessage failure && TryParseShorter(start, binder, failure.Target) is { } call)
            message = call;
        return true;
    }

    public void WriteMessage(HubMessage message, IBufferWriter<byte> output) => inner.WriteMessage(message, output);

    public ReadOnlyMemory<byte> GetMessageBytes(HubMessage message) => inner.GetMessageBytes(message);

    public bool IsVersionSupported(int version) => inner.IsVersionSupported(version);

    private InvocationMessage? TryParseShorter(ReadOnlySequence<byte> input, IInvocationBinder binder, string method)
    {
        if (TryGetTypes(binder, method) is not { } types)
            return null;
        for (var count = types.Count - 1; count >= 0 && Nullable.GetUnderlyingType(types[count]) is not null; count--)
        {
            var rest = input;
            if (inner.TryParseMessage(ref rest, new FirstOnly(binder, count), out var message) && message is InvocationMessage call)
            {
                object?[] all = [.. call.Arguments, .. new object?[types.Count - count]];
                return new InvocationMessage(call.InvocationId, call.Target, all, call.StreamIds) { Headers = call.Headers };
            }
        }

        return null;
    }

    /// <summary>Null when there is no such method: SignalR then fails that call alone, and says so.</summary>
    private static IReadOnlyList<Type>? TryGetTypes(IInvocationBinder binder, string method)
    {
        try
        {
            return binder.GetParameterTypes(method);
        }
        catch (HubException)
        {
            return null; // Thrown for a method that there is not (DefaultHubDispatcher).
        }
    }

    private sealed class FirstOnly(IInvocationBinder inner, int count) : IInvocationBinder
    {
        public IReadOnlyList<Type> GetParameterTypes(string methodName) => [.. inner.GetParameterTypes(methodName).Take(count)];

        public Type GetReturnType(string invocationId) => inner.GetReturnType(invocationId);

        public Type GetStreamItemType(string streamId) => inner.GetStreamItemType(streamId);
    }
}
