using ImageQueue.Core.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using NUnit.Framework;

namespace ImageQueue.Tests.Hosting;

/// <summary>Background services that wait for the database.</summary>
[Category(Categories.Fast)]
internal sealed class WhenReadyTests
{
    /// <summary>Seen before: a dead service that nobody heard of.</summary>
    [Test]
    public async Task DeadService_StopsTheHost_AndIsSaid()
    {
        var log = new Support.LogRecorder();
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Logging.AddProvider(log);
        builder.Services.AddSingleton<DatabaseReadiness>();
        builder.Services.AddSingleton<Dying>();
        builder.Services.AddHostedService<WhenReady<Dying>>();
        using var host = builder.Build();
        await host.StartAsync();
        var stopping = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(stopping.SetResult);

        host.Services.GetRequiredService<DatabaseReadiness>().Set();

        await stopping.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(log.ToString(), Does.Contain("a broken promise"));
    }

    [Test]
    public async Task Service_IsNotStarted_WhenTheHostStopsBeforeTheDatabaseAnswers()
    {
        using var service = new Dying();
        using var waiting = new WhenReady<Dying>(service, new DatabaseReadiness());
        await waiting.StartAsync(CancellationToken.None);

        await waiting.StopAsync(CancellationToken.None);

        Assert.That((waiting.ExecuteTask!.IsCompleted, waiting.ExecuteTask.IsFaulted, service.ExecuteTask), Is.EqualTo((true, false, (Task?)null)));
    }

    private sealed class Dying : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            throw new InvalidOperationException("a broken promise");
        }
    }
}
