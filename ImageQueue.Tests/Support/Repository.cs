namespace ImageQueue.Tests.Support;

/// <summary>Where the sources are.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "ImageQueue.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException($"ImageQueue.sln is in no folder above {AppContext.BaseDirectory}; run the tests from a checkout.");
    }
}
