using System.Security.Cryptography;
using Microsoft.Extensions.FileProviders;

namespace ImageQueue.Web.Chat;

/// <summary>
/// Serves the page's files under a path with the hash of their contents, so that browsers cache them for ever. All share one path
/// because modules import each other relatively.
/// </summary>
public sealed class ChatAssets
{
    public ChatAssets(IWebHostEnvironment environment)
    {
        using var all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var file in Files(environment.WebRootFileProvider, "").OrderBy(file => file.Path, StringComparer.Ordinal))
        {
            all.AppendData(Encoding.UTF8.GetBytes(file.Path));
            using var stream = file.Info.CreateReadStream();
            var bytes = new byte[file.Info.Length];
            stream.ReadExactly(bytes);
            all.AppendData(bytes);
        }

        Path = $"/assets/{Convert.ToHexStringLower(all.GetHashAndReset())[..16]}";
    }

    /// <summary>The path, without a trailing slash.</summary>
    public string Path { get; }

    private static IEnumerable<(string Path, IFileInfo Info)> Files(IFileProvider provider, string folder) =>
        provider.GetDirectoryContents(folder).SelectMany(file => file.IsDirectory
            ? Files(provider, $"{folder}/{file.Name}")
            : [($"{folder}/{file.Name}", file)]);
}
