using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace ImageQueue.Web.Startup;

/// <summary>Once Kestrel listens: gives the pool the simulator's address, and logs the addresses and folders in use.</summary>
internal sealed class StartupReport(
    IServer server, BackendPlan plan, BackendPool pool, IMessageDatabase database, DatabaseReadiness readiness,
    IOptions<ImagesOptions> images, ILogger<StartupReport> logger)
    : IHostedLifecycleService
{
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken)
    {
        var address = OwnAddress.Of([.. server.Features.Get<IServerAddressesFeature>()?.Addresses ?? []])
            ?? throw new InvalidOperationException("The web server listens nowhere; set Urls, such as http://localhost:5080.");
        if (plan.UsesSimulator)
            pool.Add(new ForgeBackend("simulator", new Uri(address, "simulator")));
        pool.StartMonitoring();
        logger.LogInformation(
            """
            ImageQueue {State}.
              Chat page  {Page}
              Dashboard  {Dashboard}
              Messages   {Database}
              Images     {Images}
              Forge      {Backends}
            """,
            readiness.Ready.IsCompleted ? "is ready" : "waits for its database",
            address,
            new Uri(address, "hangfire"),
            database.Location,
            images.Value.Directory,
            plan.UsesSimulator
                ? "the built-in simulator: its images are drawn, not generated. Set Forge__Backends__0__Url to use a real Forge."
                : string.Join(", ", pool.Status.Select(backend => $"{backend.Name} ({backend.Url})")));
        return Task.CompletedTask;
    }

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
