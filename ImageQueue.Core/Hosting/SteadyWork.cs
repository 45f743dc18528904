using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Hosting;

/// <summary>What a background service does again and again, whatever goes wrong. Trouble is said once: a database can be away for hours.</summary>
/// <param name="logger">Says it.</param>
/// <param name="trouble">A sentence without its full stop: what does not happen meanwhile, and what that means.</param>
/// <param name="wellAgain">A sentence: the trouble is over.</param>
internal sealed class SteadyWork(ILogger logger, string trouble, string wellAgain)
{
    private bool _isInTrouble;

    /// <summary>Does it once.</summary>
    /// <exception cref="OperationCanceledException">The service stops.</exception>
    public async Task TryAsync(Func<CancellationToken, Task> work, CancellationToken stoppingToken)
    {
        try
        {
            await work(stoppingToken);
            if (_isInTrouble)
                logger.LogInformation("{WellAgain}", wellAgain);
            _isInTrouble = false;
        }
        catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
        {
            // Where the reason says it all, it needs no stack.
            logger.Log(_isInTrouble ? LogLevel.Debug : LogLevel.Warning, e is StoreUnavailableException ? null : e, "{Trouble} ({Reason}).", trouble, e.Message);
            _isInTrouble = true;
        }
    }
}
