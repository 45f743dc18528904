namespace ImageQueue.Core.Messages.SqlServer;

/// <summary>The scripts of the folder <c>sql</c>, which are embedded into this assembly, in the order in which they run.</summary>
internal static class SchemaScripts
{
    private const string Folder = "sql/";

    /// <summary>All scripts, by name: names start with a date and a number.</summary>
    public static IReadOnlyList<SchemaScript> All { get; } =
    [
        .. typeof(SchemaScripts).Assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(Folder, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(name => new SchemaScript(name[Folder.Length..], Read(name))),
    ];

    private static string Read(string resource)
    {
        using var stream = typeof(SchemaScripts).Assembly.GetManifestResourceStream(resource)
            ?? throw new InvalidOperationException($"The script {resource} is not embedded.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}

/// <summary>One script: its file name, and its text in batches that <c>GO</c> separates.</summary>
internal sealed record SchemaScript(string Name, string Text);
