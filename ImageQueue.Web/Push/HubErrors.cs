using ImageQueue.Core.Messages;
using Microsoft.AspNetCore.SignalR;

namespace ImageQueue.Web.Push;

/// <summary>
/// Says what went wrong in a hub's call: to the client in a sentence, to the log only what is the server's fault. SignalR itself
/// would log each refused call as an error, with its stack.
/// </summary>
internal sealed class HubErrors(ILogger<HubErrors> logger) : IHubFilter
{
    /// <summary>Where SignalR logs the same.</summary>
    public const string ReplacedCategory = "Microsoft.AspNetCore.SignalR.Internal.DefaultHubDispatcher";

    /// <inheritdoc/>
    public async ValueTask<object?> InvokeMethodAsync(HubInvocationContext invocationContext, Func<HubInvocationContext, ValueTask<object?>> next)
    {
        try
        {
            return await next(invocationContext);
        }
        catch (StoreUnavailableException e)
        {
            logger.LogWarning(e, "{Method} of a hub's client was refused: {Reason}", invocationContext.HubMethodName, e.Message);
            throw new HubException(e.Message, e);
        }
        catch (Exception e) when (e is not HubException && !invocationContext.Context.ConnectionAborted.IsCancellationRequested)
        {
            logger.LogError(e, "{Method} of a hub's client failed.", invocationContext.HubMethodName);
            throw;
        }
    }
}
