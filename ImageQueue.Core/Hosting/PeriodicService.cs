using System.Data.Common;
using Microsoft.Extensions.Hosting;
using Polly;
using Polly.Retry;

namespace ImageQueue.Core.Hosting;

/// <summary>
/// Runs a background pass at an interval, or when signalled. A failed pass is retried with growing delays, logged once, and
/// neither ends the process nor delays its stop.
/// </summary>
public abstract class PeriodicService(DatabaseReadiness readiness, TimeProvider time, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan FirstRetryDelay = TimeSpan.FromMilliseconds(500);

    private bool _isFailing;

    /// <summary>Whether the database is ready; passes run only then.</summary>
    protected bool IsDatabaseReady => readiness.Ready.IsCompletedSuccessfully;

    /// <summary>The clock.</summary>
    protected TimeProvider Time => time;

    /// <summary>The service's own logger.</summary>
    protected ILogger Logger => logger;

    /// <summary>What a pass does, as log messages begin with it: "Storing queue positions".</summary>
    protected abstract string Activity { get; }

    /// <summary>Longest time between two passes; infinite: one successful pass is all.</summary>
    protected abstract TimeSpan Interval { get; }

    /// <summary>Shortest time between two passes, however many signals come.</summary>
    protected virtual TimeSpan MinInterval => Interval;

    /// <summary>Longest delay before a failed pass is retried.</summary>
    protected virtual TimeSpan MaxRetryDelay => TimeSpan.FromSeconds(5);

    /// <summary>
    /// Completes when a pass is due before <see cref="Interval"/> is over. Taken before each pass, so that none is missed.
    /// </summary>
    protected virtual Task NextSignal => Task.CompletedTask;

    /// <summary>One pass.</summary>
    protected abstract Task RunPassAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await readiness.Ready.WaitAsync(stoppingToken);
            var retries = BuildRetries();
            var isPeriodic = Interval != Timeout.InfiniteTimeSpan;
            do
            {
                var signal = NextSignal;
                await retries.ExecuteAsync(RunAndReportAsync, stoppingToken);
                if (isPeriodic && MinInterval > TimeSpan.Zero)
                    await Task.Delay(MinInterval, time, stoppingToken);
                if (isPeriodic && Interval > MinInterval)
                {
                    await signal.WaitAsync(
                        Interval - MinInterval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            while (isPeriodic && !stoppingToken.IsCancellationRequested);
        }
        catch (Exception e) when (stoppingToken.IsCancellationRequested)
        {
            if (e is not OperationCanceledException)
                logger.LogDebug(e, "{Activity} failed while the process was stopping.", Activity);
        }
    }

    private async ValueTask RunAndReportAsync(CancellationToken cancellationToken)
    {
        await RunPassAsync(cancellationToken);
        if (_isFailing)
            logger.LogInformation("{Activity} works again.", Activity);
        _isFailing = false;
    }

    private ResiliencePipeline BuildRetries() => new ResiliencePipelineBuilder { TimeProvider = time }
        .AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = args => new(args.Outcome.Exception is not null && !args.Context.CancellationToken.IsCancellationRequested),
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            Delay = FirstRetryDelay < MaxRetryDelay ? FirstRetryDelay : MaxRetryDelay,
            MaxDelay = MaxRetryDelay,
            OnRetry = args =>
            {
                ReportFailure(args.Outcome.Exception!, args.RetryDelay); // Only exceptions are handled.
                return default;
            },
        })
        .Build();

    /// <summary>Once for each outage: a database can be away for hours. Its own exceptions say enough without a stack.</summary>
    private void ReportFailure(Exception e, TimeSpan delay)
    {
        var stack = e is DbException || e.InnerException is DbException ? null : e;
        logger.Log(
            _isFailing ? LogLevel.Debug : LogLevel.Warning, stack,
            "{Activity} failed: {Reason}. Next try in {Delay} s.", Activity, e.Message.TrimEnd('.'), delay.TotalSeconds);
        _isFailing = true;
    }
}
