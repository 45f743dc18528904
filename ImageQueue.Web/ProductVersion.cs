using System.Reflection;

namespace ImageQueue.Web;

/// <summary>The version that the build derives from the newest tag.</summary>
internal static class ProductVersion
{
    public static string? WithCommit { get; } =
        typeof(ProductVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion;

    /// <summary>Without the commit.</summary>
    public static string Value { get; } = WithCommit?.Split('+')[0] ?? "";
}
