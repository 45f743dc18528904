using Microsoft.AspNetCore.SignalR;

namespace ImageQueue.Web.Push;

/// <summary>
/// Turns a failed hub call into a sentence for the client, and logs only our own faults: SignalR itself would log each refused call
/// as an error with a stack.
/// </summary>
internal sealed class HubErrors(ILogger<HubErrors> logger) : IHubFilter
{
    /// <summary>Where SignalR logs the same.</summary>
    public const string ReplacedCategory = "Microsoft.AspNetCore.SignalR.Internal.DefaultHubDispatcher";

    public async ValueTask<object?> InvokeMethodAsync(
        HubInvocationContext invocationContext, Func<HubInvocationContext, ValueTask<object?>> next)
    {
        try
        {
            return await next(invocationContext);
        }
        catch (StoreUnavailableException e)
        {
            logger.LogWarning(e, "Hub call {Method} was refused: {Reason}", invocationContext.HubMethodName, e.Message);
            throw new HubException(e.Message, e);
        }
        catch (Exception e) when (e is not HubException && !invocationContext.Context.ConnectionAborted.IsCancellationRequested)
        {
            logger.LogError(e, "Hub call {Method} failed.", invocationContext.HubMethodName);
            throw;
        }
    }
}
