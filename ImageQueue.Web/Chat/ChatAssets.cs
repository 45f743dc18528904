using System.Security.Cryptography;
using Microsoft.Extensions.FileProviders;

namespace ImageQueue.Web.Chat;

/// <summary>
/// The page's files under an address that is made of what is in all of them: a browser keeps them for ever, and after an update
/// asks for none of the old ones. One address for all, since modules name each other by relative paths.
/// </summary>
public sealed class ChatAssets
{
    /// <summary>Reads the files once.</summary>
    public ChatAssets(IWebHostEnvironment environment)
    {
        using var all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var file in Files(environment.WebRootFileProvider, "").OrderBy(file => file.Path, StringComparer.Ordinal))
        {
            all.AppendData(System.Text.Encoding.UTF8.GetBytes(file.Path));
            using var stream = file.Info.CreateReadStream();
            var bytes = new byte[file.Info.Length];
            stream.ReadExactly(bytes);
            all.AppendData(bytes);
        }

        Path = $"/assets/{Convert.ToHexStringLower(all.GetHashAndReset())[..16]}";
    }

    /// <summary>Where they are.</summary>
    public string Path { get; }

    private static IEnumerable<(string Path, IFileInfo Info)> Files(IFileProvider provider, string folder) =>
        provider.GetDirectoryContents(folder).SelectMany(file => file.IsDirectory
            ? Files(provider, $"{folder}/{file.Name}")
            : [($"{folder}/{file.Name}", file)]);
}
