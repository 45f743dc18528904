using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace ImageQueue.Web.Startup;

/// <summary>Binds the section <c>Kestrel:Limits</c> to Kestrel's own options, over defaults that suit a public server.</summary>
internal static class KestrelLimits
{
    private const string Section = "Kestrel:Limits";

    public static void AddKestrelLimits(this IServiceCollection services, IConfiguration configuration)
    {
        // Kestrel's options are first read when it starts to listen: a wrong value must stop the start before that.
        services.AddOptions<KestrelServerOptions>().Configure(kestrel => Configure(kestrel, configuration.GetSection(Section)))
            .ValidateOnStart();
    }

    private static void Configure(KestrelServerOptions kestrel, IConfigurationSection section)
    {
        kestrel.AddServerHeader = false;
        var limits = kestrel.Limits;
        limits.MaxConcurrentConnections = 20_000;
        limits.MaxConcurrentUpgradedConnections = 20_000;
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        limits.MaxRequestHeadersTotalSize = 16 * 1024;
        limits.MinRequestBodyDataRate = limits.MinResponseDataRate = new MinDataRate(240, TimeSpan.FromSeconds(5));
        limits.MaxRequestBodySize = 1024 * 1024; // Of the dashboard's forms; the API's own limit is lower.
        // One setting at a time: Kestrel's own setters refuse what is out of range, and do not name the key.
        foreach (var setting in section.GetChildren())
            Set(limits, setting);
    }

    private static void Set(KestrelServerLimits limits, IConfigurationSection setting)
    {
        try
        {
            if (setting.Key.Equals(nameof(limits.MinRequestBodyDataRate), StringComparison.OrdinalIgnoreCase))
                limits.MinRequestBodyDataRate = Rate(setting);
            else if (setting.Key.Equals(nameof(limits.MinResponseDataRate), StringComparison.OrdinalIgnoreCase))
                limits.MinResponseDataRate = Rate(setting);
            else
                One(setting).Bind(limits, binder => binder.ErrorOnUnknownConfiguration = true);
        }
        catch (Exception e) when (e.GetBaseException() is ArgumentException or FormatException or OverflowException)
        {
            throw new OptionsValidationException(
                Section, typeof(KestrelServerLimits), [$"{setting.Path} is refused: {e.GetBaseException().Message}"]);
        }
    }

    private static IConfiguration One(IConfigurationSection setting) => new ConfigurationBuilder()
        .AddInMemoryCollection(setting.AsEnumerable().Select(pair => KeyValuePair.Create(pair.Key[(Section.Length + 1)..], pair.Value)))
        .Build();

    /// <summary>MinDataRate has no setters, so the binder cannot change an existing one.</summary>
    private static MinDataRate Rate(IConfigurationSection section) => new(
        double.Parse(section["BytesPerSecond"] ?? "240", CultureInfo.InvariantCulture),
        TimeSpan.Parse(section["GracePeriod"] ?? "00:00:05", CultureInfo.InvariantCulture));
}
