using Hangfire;
using Hangfire.Common;
using Hangfire.Server;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Web.Startup;

/// <summary>A Hangfire server that starts once the app has started and the database is ready.</summary>
/// <remarks>Started earlier, its workers would fail and back off, for up to five minutes after the database is back.</remarks>
internal sealed class JobServer(
    BackgroundJobServerOptions options, JobStorage storage, IEnumerable<IBackgroundProcess> processes, DatabaseReadiness readiness,
    IHostApplicationLifetime lifetime) : BackgroundService
{
    public string Name => options.ServerName;

    /// <summary>Whether it has started and is not stopping.</summary>
    public bool IsRunning { get; private set; }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken, lifetime.ApplicationStopping);
        try
        {
            // The simulator's address is known only when the web server listens.
            await Task.Delay(Timeout.Infinite, lifetime.ApplicationStarted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await readiness.Ready.WaitAsync(stopping.Token);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        using var server = new BackgroundJobServer(options, storage, processes);
        IsRunning = true;
        await Task.Delay(Timeout.Infinite, stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        IsRunning = false;

        // No longer than the options' StopTimeout and ShutdownTimeout.
        server.SendStop();
        await server.WaitForShutdownAsync(CancellationToken.None);
    }
}

internal static class JobServerServices
{
    /// <summary>Hangfire's AddHangfireServer, but it waits for the database.</summary>
    /// <param name="name">The server's name behind the machine's.</param>
    public static void AddJobServer<TStorage>(
        this IServiceCollection services, string name, Action<IServiceProvider, BackgroundJobServerOptions> configure)
        where TStorage : JobStorage =>
        services.AddSingleton<IHostedService>(provider =>
        {
            // Resolving it applies Hangfire's global configuration.
            provider.GetRequiredService<IGlobalConfiguration>();
            var options = new BackgroundJobServerOptions
            {
                ServerName = $"{Environment.MachineName}:{name}",
                // A worker that waits for a backend, or sweeps, stops at once; one that generates has its own drain time (ShutdownOptions).
                // Hangfire requeues a job only once its stop timeout is over, so that is zero.
                StopTimeout = TimeSpan.Zero,
                ShutdownTimeout = provider.GetRequiredService<IOptions<ShutdownOptions>>().Value.WorkerTimeout,
                Activator = provider.GetService<JobActivator>(),
                FilterProvider = provider.GetService<IJobFilterProvider>(),
                TimeZoneResolver = provider.GetService<ITimeZoneResolver>(),
            };
            configure(provider, options);
            return ActivatorUtilities.CreateInstance<JobServer>(provider, options, provider.GetRequiredService<TStorage>());
        });
}
