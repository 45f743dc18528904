using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;

namespace ImageQueue.Web.Startup;

/// <summary>
/// Prepares the database before anything else starts. While a database server does not answer yet, the app serves, reports not ready,
/// and starts its jobs when the database is back.
/// </summary>
internal sealed class DatabaseStart(
    IMessageDatabase database, DatabaseReadiness readiness, IHostApplicationLifetime lifetime, TimeProvider time,
    ILogger<DatabaseStart> logger)
    : IHostedLifecycleService, IDisposable
{
    private static readonly TimeSpan ShortestWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    /// <summary>Interval between log lines about the same failure.</summary>
    private static readonly TimeSpan Reminder = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource _stopping = new();
    private Task _waiting = Task.CompletedTask;

    /// <summary>Prepares the database, in the background if it is unavailable and may come back.</summary>
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

    /// <exception cref="SchemaException">The database came back, and its tables do not fit: the app ends as if it had been seen at the
    /// start.</exception>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        // Nothing is thrown for the host's patience, which would end the process with exit code 134.
        await _waiting.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_waiting.IsFaulted)
            await _waiting;
    }

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _stopping.Dispose();

    private async Task PrepareAsync(CancellationToken cancellationToken)
    {
        await database.PrepareAsync(cancellationToken);
        readiness.Set();
    }

    private async Task WaitAsync(string logged)
    {
        var loggedAt = time.GetTimestamp();
        for (var wait = ShortestWait; ; wait = wait * 2 < LongestWait ? wait * 2 : LongestWait)
        {
            try
            {
                await Task.Delay(wait, time, _stopping.Token);
                await PrepareAsync(_stopping.Token);
                logger.LogInformation("Database {Database} is available; starting jobs.", database.Location);
                return;
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (StoreUnavailableException e)
            {
                if (e.Message == logged && time.GetElapsedTime(loggedAt) < Reminder)
                    continue;
                Warn(e);
                (logged, loggedAt) = (e.Message, time.GetTimestamp());
            }
            catch (Exception e)
            {
                // It answers, and this release cannot work on it.
                logger.LogCritical(e is SchemaException ? null : e, "ImageQueue stops: {Reason}", e.Message);
                lifetime.StopApplication();
                throw;
            }
        }
    }

    private void Warn(StoreUnavailableException e) =>
        logger.LogWarning(
            "{Reason} ({Database}: {Detail}) Requests get 503 until it answers; retrying.", e.Message, database.Location,
            e.InnerException?.Message);
}
