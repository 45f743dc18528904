using System.Security.Cryptography;
using System.Text;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using Microsoft.SqlServer.TransactSql.ScriptDom;
using NUnit.Framework;

namespace ImageQueue.Tests.Sql;

/// <summary>
/// The release before goes on working while this one's scripts are applied and its instances start beside it: what it sends is
/// kept in <c>Sql/Previous</c>, with the scripts that it knew.
/// </summary>
/// <remarks>
/// Renew it when a release is out, and never together with a new script: <c>dotnet test ImageQueue.Tests --filter
/// "FullyQualifiedName~SqlServerUpgradeTests.Renew"</c>.
/// </remarks>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class SqlServerUpgradeTests
{
    private const string Separator = "\nGO\n";

    private static readonly string Folder = Path.Combine(Repository.Root, "ImageQueue.Tests", "Sql", "Previous");

    private static readonly string ScriptsFile = Path.Combine(Folder, "scripts.txt");

    private static readonly string StatementsFile = Path.Combine(Folder, "statements.sql");

    private static Dictionary<string, string> PreviousScripts => File.ReadLines(ScriptsFile).Select(line => line.Split(' ')).ToDictionary(line => line[0], line => line[1]);

    private static IEnumerable<string> PreviousStatements => File.ReadAllText(StatementsFile).Split(Separator, StringSplitOptions.RemoveEmptyEntries);

    private static IEnumerable<SchemaScript> NewScripts => SchemaScripts.All.Where(script => !PreviousScripts.ContainsKey(script.Name));

    /// <summary>A released script is never edited: databases that have it would not get the change.</summary>
    [Test]
    public void Scripts_OfThePreviousRelease_AreAsTheyWere() =>
        Assert.That(PreviousScripts, Is.Not.Empty.And.SubsetOf(SchemaScripts.All.ToDictionary(script => script.Name, Hash)));

    /// <summary>What is kept is of one release: its statements are those of its schema.</summary>
    [Test]
    public void Statements_OfThePreviousRelease_FitItsOwnSchema() =>
        Assert.That(SchemaModel.StatementProblems(PreviousStatements, SchemaScripts.All.Except(NewScripts).Select(script => script.Text)), Is.Empty);

    /// <summary>The schema first, the old version beside the new: every table and column that it names is there after the upgrade.</summary>
    [Test]
    public void Statements_OfThePreviousRelease_FitThisSchema()
    {
        Assert.That(PreviousStatements.Count(), Is.GreaterThan(40));
        Assert.That(SchemaModel.StatementProblems(PreviousStatements), Is.Empty);
    }

    /// <summary>What the previous release writes is not refused by anything that came since.</summary>
    [Test]
    public void Scripts_SinceThePreviousRelease_OnlyAdd() =>
        Assert.That(NewScripts.SelectMany(script => Refusals(SchemaScripts.All.Except(NewScripts), script)), Is.Empty);

    /// <summary>The tests above must be able to fail.</summary>
    [TestCase("request_hash")]
    [TestCase("paused_by")]
    public void Problems_AreFound_WhenAColumnIsRenamed(string column) =>
        Assert.That(SchemaModel.StatementProblems(PreviousStatements.Where(text => text.Contains(column, StringComparison.Ordinal)), SchemaScripts.All.Select(script => script.Text.Replace(column, "renamed", StringComparison.Ordinal))), Is.Not.Empty);

    [TestCase("ALTER TABLE dbo.messages WITH NOCHECK ADD CONSTRAINT CK_x CHECK (attempt < 5);", false)]
    [TestCase("ALTER TABLE dbo.messages ADD colour int NOT NULL;", false)]
    [TestCase("CREATE UNIQUE INDEX UX_x ON dbo.messages (conversation_id, attempt);", false)]
    [TestCase("ALTER TABLE dbo.messages ADD colour int NULL; CREATE UNIQUE INDEX UX_x ON dbo.messages (colour);", false)]
    [TestCase("ALTER TABLE dbo.messages ADD colour int NULL; CREATE UNIQUE INDEX UX_x ON dbo.messages (colour) WHERE colour IS NOT NULL;", true)]
    [TestCase("ALTER TABLE dbo.messages ADD colour int NULL; ALTER TABLE dbo.messages WITH NOCHECK ADD CONSTRAINT CK_x CHECK (colour > 0);", true)]
    [TestCase("ALTER TABLE dbo.messages ADD colour int NOT NULL CONSTRAINT DF_x DEFAULT 0; CREATE INDEX IX_x ON dbo.messages (colour);", true)]
    [TestCase("CREATE TABLE dbo.colours (id int NOT NULL, CONSTRAINT PK_colours PRIMARY KEY (id)); CREATE UNIQUE INDEX UX_x ON dbo.colours (id);", true)]
    public void Refusals_AreFound_OfWhatTheReleaseBeforeWrites(string batch, bool allowed) =>
        Assert.That(Refusals(SchemaScripts.All, new SchemaScript("x.sql", batch)), allowed ? Is.Empty : Is.Not.Empty);

    /// <summary>Writes this release's statements and scripts in place of the previous one's.</summary>
    [Test]
    [Explicit("Changes files of the repository: when a release is out.")]
    public async Task Renew()
    {
        Directory.CreateDirectory(Folder);
        await File.WriteAllLinesAsync(ScriptsFile, SchemaScripts.All.Select(script => $"{script.Name} {Hash(script)}"));
        var statements = (await SqlServerStatementTests.AllAsync()).Select(text => text.ReplaceLineEndings("\n").Trim()).Order(StringComparer.Ordinal).DistinctBy(Names);
        await File.WriteAllTextAsync(StatementsFile, string.Concat(statements.Select(text => text + Separator)));
    }

    /// <summary>Statements that name the same things fit the same schema: one of them is kept.</summary>
    private static string Names(string statement) =>
        string.Join(' ', TSqlSyntax.Parse(statement).ScriptTokenStream.Where(token => token.TokenType is TSqlTokenType.Identifier or TSqlTokenType.QuotedIdentifier).Select(token => token.Text).Distinct().Order(StringComparer.Ordinal));

    private static string Hash(SchemaScript script) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(script.Text.ReplaceLineEndings("\n"))));

    /// <summary>What a script asks of rows in tables that were there before, and that a release which knows nothing of it may not keep.</summary>
    private static IEnumerable<string> Refusals(IEnumerable<SchemaScript> before, SchemaScript script)
    {
        var old = before.SelectMany(earlier => SchemaModel.Definitions(earlier.Text)).OfType<CreateTableStatement>().Select(table => Name(table.SchemaObjectName)).ToHashSet(StringComparer.OrdinalIgnoreCase);
        var definitions = SchemaModel.Definitions(script.Text);
        var added = definitions.OfType<AlterTableAddTableElementStatement>().SelectMany(addition => addition.Definition.ColumnDefinitions).ToList();
        foreach (var column in added.Where(column => column.Constraints.OfType<NullableConstraintDefinition>().Any(constraint => !constraint.Nullable) && column.DefaultConstraint is null))
            yield return $"{script.Name}: {column.ColumnIdentifier.Value} is NOT NULL without a default";

        foreach (var constraint in definitions.OfType<AlterTableAddTableElementStatement>().Where(addition => old.Contains(Name(addition.SchemaObjectName))).SelectMany(addition => addition.Definition.TableConstraints))
        {
            if (!IsAboutNew(constraint))
                yield return $"{script.Name}: {TSqlSyntax.TextOf(constraint)} is about columns that the release before writes";
        }

        foreach (var index in definitions.OfType<CreateIndexStatement>().Where(index => index.Unique && old.Contains(Name(index.OnName))))
        {
            if (index.FilterPredicate is null || !IsAboutNew(index.FilterPredicate))
                yield return $"{script.Name}: {index.Name.Value} is unique for rows of the release before as well";
        }

        bool IsAboutNew(TSqlFragment fragment) => added.Any(column => TSqlSyntax.TextOf(fragment).Contains(column.ColumnIdentifier.Value, StringComparison.OrdinalIgnoreCase));
    }

    private static string Name(SchemaObjectName name) => $"{name.SchemaIdentifier?.Value}.{name.BaseIdentifier.Value}";
}
