using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage;

namespace ImageQueue.Web.Startup;

/// <summary>
/// Prepares the database before anything else starts. A server that does not answer yet is waited for: the app serves meanwhile,
/// says that it is not ready, and starts its jobs when the database is back.
/// </summary>
internal sealed class DatabaseStart(
    IMessageDatabase database, DatabaseReadiness readiness, IHostApplicationLifetime lifetime, TimeProvider time, ILogger<DatabaseStart> logger)
    : IHostedLifecycleService, IDisposable
{
    private static readonly TimeSpan ShortestWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    /// <summary>How often the same trouble is worth a line.</summary>
    private static readonly TimeSpan Reminder = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource _stopping = new();
    private Task _waiting = Task.CompletedTask;

    /// <summary>Looks, and goes on looking in the background if the database may come back.</summary>
    /// <exception cref="SchemaException">Its tables do not fit.</exception>
    /// <exception cref="StoreUnavailableException">It cannot be opened, and will not be by itself.</exception>
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        try
        {
            await PrepareAsync(cancellationToken);
        }
        catch (StoreUnavailableException e) when (database.MayComeBack)
        {
            Warn(e);
            _waiting = WaitAsync(e.Message);
        }
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => _stopping.CancelAsync();

    /// <exception cref="SchemaException">The database came back, and its tables do not fit: the app ends as if it had been seen at the start.</exception>
    public Task StopAsync(CancellationToken cancellationToken) => _waiting.WaitAsync(cancellationToken);

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _stopping.Dispose();

    private async Task PrepareAsync(CancellationToken cancellationToken)
    {
        await database.PrepareAsync(cancellationToken);
        readiness.Set();
    }

    private async Task WaitAsync(string told)
    {
        var toldAt = time.GetTimestamp();
        for (var wait = ShortestWait; ; wait = wait * 2 < LongestWait ? wait * 2 : LongestWait)
        {
            try
            {
                await Task.Delay(wait, time, _stopping.Token);
                await PrepareAsync(_stopping.Token);
                logger.LogInformation("The database {Database} answers; jobs start now.", database.Location);
                return;
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (StoreUnavailableException e)
            {
                if (e.Message == told && time.GetElapsedTime(toldAt) < Reminder)
                    continue;
                Warn(e);
                (told, toldAt) = (e.Message, time.GetTimestamp());
            }
            catch (Exception e)
            {
                // It answers, and is not what this release can work on.
                logger.LogCritical(e is SchemaException ? null : e, "ImageQueue stops: {Reason}", e.Message);
                lifetime.StopApplication();
                throw;
            }
        }
    }

    private void Warn(StoreUnavailableException e) =>
        logger.LogWarning("{Reason} ({Database}: {Detail}) Requests get 503 until it answers; trying again.", e.Message, database.Location, e.InnerException?.Message);
}
