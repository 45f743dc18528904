using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace ImageQueue.Core.Forge;

/// <summary>One server, one name: <c>http://h/x</c> and <c>http://H:80/x/</c> are the same, and get one request at a time between them.</summary>
internal static class ForgeAddress
{
    /// <summary>What the names of all backends' leases begin with.</summary>
    public const string LeasePrefix = "forge:";

    /// <summary>The column has room for 300.</summary>
    private const int LongestName = 250;

    /// <summary>Scheme, host, port and path, without credentials and without a slash at the end.</summary>
    public static string Of(Uri url) =>
        url.GetComponents(UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped).TrimEnd('/');

    /// <summary>The same as an address.</summary>
    public static Uri Normalize(Uri url) => new(Of(url));

    /// <summary>
    /// The lease of a server in the database. Each machine has a loopback address of its own, so there the machine's name
    /// belongs to it.
    /// </summary>
    public static string LeaseName(Uri url)
    {
        var name = LeasePrefix + Of(url) + (url.IsLoopback ? $"@{Environment.MachineName}" : "");
        return name.Length <= LongestName
            ? name
            : string.Create(CultureInfo.InvariantCulture, $"{name.AsSpan(0, LongestName - 65)}#{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))}");
    }
}
