using Hangfire;
using Hangfire.Common;
using Hangfire.Server;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Web.Startup;

/// <summary>
/// A Hangfire server that starts when the app has started and the database has answered. Begun earlier, its workers would fail
/// and wait longer each time, up to five minutes, after the database is back.
/// </summary>
internal sealed class JobServer(
    BackgroundJobServerOptions options,
    JobStorage storage,
    IEnumerable<IBackgroundProcess> processes,
    DatabaseReadiness readiness,
    IHostApplicationLifetime lifetime)
    : BackgroundService
{
    /// <summary>Its name in Hangfire.</summary>
    public string Name => options.ServerName;

    /// <summary>Whether it has started, and is not about to stop.</summary>
    public bool IsRunning { get; private set; }

    /// <inheritdoc/>
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

/// <summary>How a <see cref="JobServer"/> is registered.</summary>
internal static class JobServerServices
{
    /// <summary>As Hangfire's AddHangfireServer, but waiting for the database.</summary>
    public static void AddJobServer<TStorage>(this IServiceCollection services, Action<IServiceProvider, BackgroundJobServerOptions> configure)
        where TStorage : JobStorage =>
        services.AddSingleton<IHostedService>(provider =>
        {
            // Hangfire's global configuration is done when this is asked for.
            provider.GetRequiredService<IGlobalConfiguration>();
            var options = new BackgroundJobServerOptions
            {
                Activator = provider.GetService<JobActivator>(),
                FilterProvider = provider.GetService<IJobFilterProvider>(),
                TimeZoneResolver = provider.GetService<ITimeZoneResolver>(),
            };
            configure(provider, options);
            return new JobServer(
                options,
                provider.GetRequiredService<TStorage>(),
                provider.GetServices<IBackgroundProcess>(),
                provider.GetRequiredService<DatabaseReadiness>(),
                provider.GetRequiredService<IHostApplicationLifetime>());
        });
}
