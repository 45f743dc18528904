using System.Globalization;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Startup;

/// <summary>Binds the section <c>Kestrel:Limits</c> to Kestrel's own options, over defaults that suit a public server.</summary>
internal static class KestrelLimits
{
    private const string Section = "Kestrel:Limits";

    public static void AddKestrelLimits(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddOptions<KestrelServerOptions>().Configure(kestrel => Configure(kestrel, configuration.GetSection(Section)));
        // Kestrel's options are first read when it starts to listen: a wrong value must stop the start before that.
        services.AddOptions<KestrelServerOptions>().ValidateOnStart();
    }

    private static void Configure(KestrelServerOptions kestrel, IConfigurationSection section)
    {
        kestrel.AddServerHeader = false;
        var limits = kestrel.Limits;
        limits.MaxConcurrentConnections = 20_000;
        limits.MaxConcurrentUpgradedConnections = 20_000;
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        limits.MaxRequestHeadersTotalSize = 16 * 1024;
        limits.MaxRequestBodySize = 1024 * 1024; // Of the dashboard's forms; the API's own limit is lower.
        try
        {
            section.Bind(limits, binder => binder.ErrorOnUnknownConfiguration = true);
            limits.MinRequestBodyDataRate = Rate(section.GetSection(nameof(limits.MinRequestBodyDataRate)));
            limits.MinResponseDataRate = Rate(section.GetSection(nameof(limits.MinResponseDataRate)));
        }
        catch (Exception e) when (e is ArgumentException or FormatException
            || (e.InnerException ?? e) is System.Reflection.TargetInvocationException or ArgumentException)
        {
            // Kestrel's own setters refuse what is out of range, and do not name the key.
            throw new OptionsValidationException(
                Section, typeof(KestrelServerLimits), [$"{Section} holds a value that Kestrel refuses: {e.GetBaseException().Message}"]);
        }
    }

    /// <summary>MinDataRate has no setters, so the binder cannot change an existing one.</summary>
    private static MinDataRate Rate(IConfigurationSection section) => new(
        double.Parse(section["BytesPerSecond"] ?? "240", CultureInfo.InvariantCulture),
        TimeSpan.Parse(section["GracePeriod"] ?? "00:00:05", CultureInfo.InvariantCulture));
}
