using ImageQueue.Web.Startup;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>What a supervisor learns from the process's end.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ExitCodeTests
{
    [TestCase(true, 1)]
    [TestCase(false, 0)]
    public async Task Run_Returns1_WhenABackgroundServiceFailed(bool fails, int expected)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration["Urls"] = "http://127.0.0.1:0";
        builder.Logging.ClearProviders();
        builder.Services.AddHostedService(provider => new Service(provider.GetRequiredService<IHostApplicationLifetime>(), fails));

        Assert.That(await builder.Build().RunToExitCodeAsync(), Is.EqualTo(expected));
    }

    private sealed class Service(IHostApplicationLifetime lifetime, bool fails) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            await Task.Delay(Timeout.Infinite, lifetime.ApplicationStarted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (fails)
                throw new InvalidOperationException("a mistake");
            lifetime.StopApplication();
        }
    }
}
