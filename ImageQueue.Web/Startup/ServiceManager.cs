using Microsoft.Extensions.Hosting.Systemd;

namespace ImageQueue.Web.Startup;

/// <summary>Notifies systemd of start and stop, for a unit of Type=notify.</summary>
internal static class ServiceManager
{
    /// <summary>
    /// By the variable that systemd sets. The package's own AddSystemd looks at the parent's name in <c>/proc</c>, which a hardened
    /// unit (ProtectProc) does not show, and then says nothing, until systemd gives the start up.
    /// </summary>
    public static void AddServiceManager(this IServiceCollection services)
    {
        if (OperatingSystem.IsWindows() || string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NOTIFY_SOCKET")))
            return;
        services.AddSingleton<ISystemdNotifier, SystemdNotifier>();
        services.AddSingleton<IHostLifetime, SystemdLifetime>();
    }
}
