using Hangfire;
using Hangfire.AspNetCore;
using Hangfire.Logging;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Tests.Support;

/// <summary>Hangfire's log is the process's. This one hands what is said on to the app in whose start it was asked for.</summary>
internal sealed class HangfireLog : ILogProvider
{
    private static readonly HangfireLog Ours = new();
    private static readonly AsyncLocal<AspNetCoreLogProvider?> OfApp = new();

    /// <summary>Makes what Hangfire's start sets up say its words here.</summary>
    public static void PutInto(IServiceCollection services)
    {
        // Registered with one.
        var own = services.Last(service => service.ServiceType == typeof(IGlobalConfiguration)).ImplementationFactory!;
        services.AddSingleton(provider =>
        {
            var configuration = (IGlobalConfiguration)own(provider);
            LogProvider.SetCurrentLogProvider(Ours);
            return configuration;
        });
    }

    /// <summary>Hangfire's threads, started from here on, belong to this app.</summary>
    public static void Follow(IServiceProvider services) =>
        OfApp.Value = new AspNetCoreLogProvider(services.GetRequiredService<ILoggerFactory>());

    public ILog GetLogger(string name) => OfApp.Value?.GetLogger(name) ?? new Silent();

    private sealed class Silent : ILog
    {
        public bool Log(Hangfire.Logging.LogLevel logLevel, Func<string> messageFunc, Exception? exception = null) => false;
    }
}
