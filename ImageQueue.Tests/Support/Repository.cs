namespace ImageQueue.Tests.Support;

/// <summary>Where the sources are.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    public static string File(string path) => Path.Combine(Root, path);

    /// <summary>With slashes, as the documents write it.</summary>
    public static string Relative(string file) => Path.GetRelativePath(Root, file).Replace('\\', '/');

    /// <summary>The files under a folder, what is built left out.</summary>
    public static IEnumerable<string> Sources(string folder, params string[] patterns) => patterns
        .SelectMany(pattern => Directory.EnumerateFiles(File(folder), pattern, SearchOption.AllDirectories))
        .Where(file => !Relative(file).Split('/').Any(part => part is "bin" or "obj" or "data" or "TestResults" or "artifacts" or ".git"));

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (System.IO.File.Exists(Path.Combine(folder.FullName, "ImageQueue.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException(
            $"ImageQueue.sln is in no folder above {AppContext.BaseDirectory}; run the tests from a checkout.");
    }
}
