namespace ImageQueue.Web.Startup;

/// <summary>The process's exit code.</summary>
internal static class ExitCode
{
    /// <returns>1 when a background service has failed, so that a supervisor restarts the process (systemd's
    /// <c>Restart=on-failure</c>).</returns>
    /// <remarks>The host stops after such a failure as after a signal, and its RunAsync returns normally.</remarks>
    public static async Task<int> RunToExitCodeAsync(this WebApplication app)
    {
        await using (app)
        {
            var services = app.Services.GetServices<IHostedService>().OfType<BackgroundService>().ToList();
            await app.StartAsync();
            await app.WaitForShutdownAsync();
            return services.Any(service => service.ExecuteTask is { IsFaulted: true }) ? 1 : 0;
        }
    }
}
