using System.Security.Cryptography;

namespace ImageQueue.Core.Forge;

/// <summary>One name per server: <c>http://h/x</c> and <c>http://H:80/x/</c> are the same, and get one request at a time.</summary>
internal static class ForgeAddress
{
    /// <summary>Prefix of the names of backend leases.</summary>
    public const string LeasePrefix = "forge:";

    /// <summary>The note of a lease whose backend only a canary can make healthy: it is held, and no capacity.</summary>
    public const string UnhealthyNote = "unhealthy";

    /// <summary>The column has room for 300.</summary>
    private const int LongestName = 250;

    /// <summary>Scheme, host, port and path, without credentials and without a slash at the end.</summary>
    public static string Of(Uri url) =>
        url.GetComponents(UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped).TrimEnd('/');

    /// <summary>
    /// The name of a server's lease in the database. Each machine has its own loopback address, so there the machine's name is added.
    /// </summary>
    public static string LeaseName(Uri url)
    {
        var name = LeasePrefix + Of(url) + (url.IsLoopback ? $"@{Environment.MachineName}" : "");
        return name.Length <= LongestName
            ? name
            : $"{name.AsSpan(0, LongestName - 65)}#{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))}";
    }
}
