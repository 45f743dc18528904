using System.Net;
using System.Net.Sockets;

namespace ImageQueue.Core.Webhooks;

/// <summary>Tells public addresses from those that only this machine or its network reaches.</summary>
/// <remarks>Source: the IANA special-purpose address registries for IPv4 and IPv6.</remarks>
internal static class PublicAddresses
{
    private static readonly IPNetwork[] SpecialV4 =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
            "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        }.Select(network => IPNetwork.Parse(network)),
    ];

    /// <summary>The public part of IPv6; NAT64 and mapped addresses are outside.</summary>
    private static readonly IPNetwork GlobalV6 = IPNetwork.Parse("2000::/3");

    /// <summary>Special within it: Teredo and other protocols, documentation, and 6to4, which contains an IPv4 address.</summary>
    private static readonly IPNetwork[] SpecialV6 =
        [IPNetwork.Parse("2001::/23"), IPNetwork.Parse("2001:db8::/32"), IPNetwork.Parse("2002::/16"), IPNetwork.Parse("3fff::/20")];

    public static bool Holds(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return address.AddressFamily == AddressFamily.InterNetwork
            ? !SpecialV4.Any(network => network.Contains(address))
            : GlobalV6.Contains(address) && !SpecialV6.Any(network => network.Contains(address));
    }
}
