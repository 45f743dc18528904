using System.Text.RegularExpressions;
using Hangfire.SqlServer;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>The scripts of the folder <c>sql</c>, embedded into this assembly, in the order in which they run.</summary>
internal static class SchemaScripts
{
    private const string Folder = "sql/";

    public const string HangfireSchema = "HangFire";

    /// <summary>All scripts, by name: names start with a date and a number.</summary>
    public static IReadOnlyList<SchemaScript> All { get; } =
    [
        .. typeof(SchemaScripts).Assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(Folder, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(name => new SchemaScript(name[Folder.Length..], Read(name))),
    ];

    /// <summary>Hangfire's own installer, which creates or migrates its tables.</summary>
    public static SchemaScript Hangfire { get; } =
        new("Hangfire's own", SqlServerObjectsInstaller.GetInstallScript(HangfireSchema, enableHeavyMigrations: true));

    /// <summary>All scripts as one text for sqlcmd.</summary>
    public static string Print() =>
        string.Concat(
            All.Append(Hangfire).Select(
                script => $"-- {script.Name}\n{script.Text.TrimEnd().ReplaceLineEndings("\n")}\n{(script == Hangfire ? "GO\n" : "\n")}"));

    private static string Read(string resource)
    {
        using var stream = typeof(SchemaScripts).Assembly.GetManifestResourceStream(resource)
            ?? throw new InvalidOperationException($"The script {resource} is not embedded.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}

/// <summary>One script: its file name, and its text in batches that <c>GO</c> separates.</summary>
internal sealed partial record SchemaScript(string Name, string Text)
{
    /// <summary>The batches to send: <c>GO</c> is no T-SQL.</summary>
    public IEnumerable<string> Batches => Separator.Split(Text).Where(batch => !string.IsNullOrWhiteSpace(batch));

    /// <summary>
    /// What the script creates, each with the condition under which it is missing: read from the guards and the table definitions, to
    /// which the folder's rules give one form.
    /// </summary>
    public IEnumerable<SchemaPart> Parts =>
        TableGuard.Matches(Text).SelectMany(guard => Columns(guard.Groups["table"].Value)
                .Select(column => new SchemaPart(
                    Name, IsNeeded: true, $"column {guard.Groups["table"].Value}.{column}",
                    $"COL_LENGTH(N'{guard.Groups["table"].Value}', N'{column}') IS NULL"))
                .Prepend(Part(guard, isNeeded: true, $"table {guard.Groups["table"].Value}")))
            .Concat(ColumnGuard.Matches(Text).Select(guard => Part(
                guard, isNeeded: true, $"column {guard.Groups["table"].Value}.{guard.Groups["column"].Value}")))
            .Concat(CheckGuard.Matches(Text).Select(guard => Part(guard, isNeeded: false, $"constraint {guard.Groups["check"].Value}")))
            .Concat(IndexGuard.Matches(Text).Select(guard => Part(
                guard, isNeeded: false, $"index {guard.Groups["table"].Value}.{guard.Groups["index"].Value}")));

    private SchemaPart Part(Match guard, bool isNeeded, string name) => new(Name, isNeeded, name, guard.Groups["missing"].Value);

    private IEnumerable<string> Columns(string table)
    {
        var definition = Regex.Match(
            Text, $@"CREATE TABLE {Regex.Escape(table)}\s+\((?<columns>.*?)^\s*\);",
            RegexOptions.Singleline | RegexOptions.Multiline | RegexOptions.CultureInvariant);
        return ColumnLine.Matches(definition.Groups["columns"].Value).Select(column => column.Groups["column"].Value);
    }

    private const RegexOptions Lines = RegexOptions.Multiline | RegexOptions.CultureInvariant;

    [GeneratedRegex(@"^GO\s*$", Lines)]
    private static partial Regex Separator { get; }

    [GeneratedRegex(@"^IF (?<missing>OBJECT_ID\(N'(?<table>[\w.]+)', N'U'\) IS NULL)", Lines)]
    private static partial Regex TableGuard { get; }

    [GeneratedRegex(@"^IF (?<missing>COL_LENGTH\(N'(?<table>[\w.]+)', N'(?<column>\w+)'\) IS NULL)", Lines)]
    private static partial Regex ColumnGuard { get; }

    [GeneratedRegex(
        @"^IF (?<missing>NOT EXISTS \(SELECT 1 FROM sys\.indexes "
        + @"WHERE object_id = OBJECT_ID\(N'(?<table>[\w.]+)'\) AND name = N'(?<index>\w+)'\))",
        Lines)]
    private static partial Regex IndexGuard { get; }

    [GeneratedRegex(@"^IF (?<missing>OBJECT_ID\(N'(?<check>[\w.]+)', N'C'\) IS NULL)", Lines)]
    private static partial Regex CheckGuard { get; }

    // Column names are lower case; constraints begin with the keyword.
    [GeneratedRegex(@"^\s+(?<column>[a-z_]+)\s+(AS|[a-z])", Lines)]
    private static partial Regex ColumnLine { get; }
}

/// <summary>A table, column, constraint or index that a script creates.</summary>
/// <param name="Script">The script's name.</param>
/// <param name="IsNeeded">Whether the app cannot work without it.</param>
/// <param name="Name">Its kind and name.</param>
/// <param name="MissingWhen">A T-SQL condition that holds when it is missing.</param>
public sealed record SchemaPart(string Script, bool IsNeeded, string Name, string MissingWhen);
