using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using ImageQueue.Core.Storage.SqlServer;
using Microsoft.SqlServer.TransactSql.ScriptDom;
using NUnit.Framework;

namespace ImageQueue.Tests.Sql;

/// <summary>The scripts of the folder <c>sql</c>: they parse, keep its README's rules, and fit together.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed partial class SchemaScriptTests
{
    private static IEnumerable<TestCaseData> Scripts =>
        SchemaScripts.All.Select(script => new TestCaseData(script).SetArgDisplayNames(script.Name));

    [Test]
    public void All_HoldsEveryFileOfTheFolder_InOrder() =>
        Assert.That(
            SchemaScripts.All.Select(script => (script.Name, script.Text)),
            Is.EqualTo(
                Directory.GetFiles(Folder(), "*.sql").Order(StringComparer.Ordinal).Select(
                    file => (Path.GetFileName(file), File.ReadAllText(file))))
                .And.Not.Empty);

    [TestCaseSource(nameof(Scripts))]
    public void Script_Parses_OnTheOldestAndTheNewestServer(object script) =>
        Assert.That(TSqlSyntax.Errors(((SchemaScript)script).Text), Is.Empty);

    [TestCaseSource(nameof(Scripts))]
    public void Script_KeepsTheRules(object script) =>
        Assert.That(BrokenRules((SchemaScript)script), Is.Empty);

    [Test]
    public void Scripts_FitTogether_InDacFxModel() =>
        Assert.That(SchemaModel.Problems(SchemaScripts.All.Select(script => script.Text)), Is.Empty);

    [Test]
    public void Readme_NamesEveryScript()
    {
        var readme = File.ReadAllText(Path.Combine(Folder(), "README.md"));

        Assert.That(SchemaScripts.All.Where(script => !readme.Contains($"`{script.Name}`", StringComparison.Ordinal)), Is.Empty);
    }

    // The tests above must be able to fail.

    [TestCase("CREATE TABLE dbo.messages (", "CREATE TABEL dbo.messages (")]
    [TestCase("WHERE queued_at IS NOT NULL;", "WHERE queued_at IS NOT;")]
    [TestCase("GRANT SELECT ON", "GRANT SELECT TO")]
    [TestCase("END CATCH", "END")]
    public void Errors_AreFound_WhenAStatementIsBroken(string right, string wrong)
    {
        var broken = SchemaScripts.All.Select(script => Broken(script, right, wrong)).OfType<string>().ToList();

        Assert.That(broken, Is.Not.Empty, "no script holds the text to break");
        Assert.That(broken.Select(TSqlSyntax.Errors), Has.All.Not.Empty);
    }

    [TestCase("(conversation_id, id)", "(conversation, id)")]
    [TestCase("REFERENCES dbo.conversations (id)", "REFERENCES dbo.chats (id)")]
    [TestCase("CREATE INDEX IX_messages_status ON dbo.messages", "CREATE INDEX IX_messages_status ON dbo.message")]
    [TestCase("INCLUDE (hangfire_job_id)", "INCLUDE (hangfire_id)")]
    [TestCase("JSON_VALUE(extra_metadata, N'$.\"status\"')", "JSON_VALUE(metadata, N'$.\"status\"')")]
    [TestCase("ON OBJECT::dbo.messages TO imagequeue_app", "ON OBJECT::dbo.message TO imagequeue_app")]
    [TestCase("ON SCHEMA::HangFire TO imagequeue_app", "ON SCHEMA::HangFire TO imagequeue_application")]
    [TestCase("CREATE SCHEMA HangFire", "CREATE SCHEMA Hang")]
    public void Problems_AreFound_WhenANameIsUnknown(string right, string wrong)
    {
        Assert.That(SchemaScripts.All.Any(script => Broken(script, right, wrong) is not null), "no script holds the text to break");
        Assert.That(SchemaModel.Problems(SchemaScripts.All.Select(script => Broken(script, right, wrong) ?? script.Text)), Is.Not.Empty);
    }

    [TestCase("UPDATE dbo.messages SET content = @content OUTPUT inserted.* WHERE id = @id AND status = N'queued'", true)]
    [TestCase(
        "DECLARE @now datetime2(3) = SYSUTCDATETIME(); SELECT m.id FROM dbo.messages AS m JOIN dbo.conversations AS c ON c.id = "
            + "m.conversation_id WHERE m.queued_at < @now", true)]
    [TestCase("SELECT r.id FROM OPENJSON(@rows) WITH (id bigint '$.id', position int '$.position') AS r", true)]
    [TestCase("UPDATE dbo.messages SET contents = @content WHERE id = @id", false)]
    [TestCase("UPDATE dbo.messages SET content = @content WHERE id = @id AND state = N'queued'", false)]
    [TestCase("UPDATE dbo.messages SET content = @content OUTPUT inserted.contents WHERE id = @id", false)]
    [TestCase("SELECT id FROM dbo.message", false)]
    [TestCase("SELECT m.identifier FROM dbo.messages AS m", false)]
    [TestCase("SELECT id FROM dbo.messages WHERE", false)]
    public void StatementProblems_AreFound_WhenAStatementDoesNotFitTheSchema(string statement, bool fits) =>
        Assert.That(SchemaModel.StatementProblems([statement]), fits ? Is.Empty : Is.Not.Empty);

    [TestCase("CREATE TABLE dbo.x (id int);", "guarded")]
    [TestCase("IF OBJECT_ID(N'dbo.y', N'U') IS NULL CREATE TABLE dbo.x (id int);", "guarded")]
    [TestCase(
        "IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.y') AND name = N'IX_x') CREATE INDEX IX_x ON dbo.x "
            + "(id);", "guarded")]
    [TestCase(
        "IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.x') AND name = N'IX_y') CREATE INDEX IX_x ON dbo.x "
            + "(id);", "guarded")]
    [TestCase("ALTER TABLE dbo.x WITH NOCHECK ADD CONSTRAINT CK_x CHECK (y > 0);", "guarded")]
    [TestCase("IF OBJECT_ID(N'dbo.CK_y', N'C') IS NULL ALTER TABLE dbo.x WITH NOCHECK ADD CONSTRAINT CK_x CHECK (y > 0);", "guarded")]
    [TestCase("IF OBJECT_ID(N'dbo.CK_x', N'C') IS NULL ALTER TABLE dbo.x ADD CONSTRAINT CK_x CHECK (y > 0);", "WITH CHECK")]
    [TestCase("IF DATABASE_PRINCIPAL_ID(N'x') IS NULL CREATE ROLE y;", "guarded")]
    [TestCase("ALTER TABLE dbo.x ADD y int NULL;", "guarded")]
    [TestCase("IF COL_LENGTH(N'dbo.x', N'z') IS NULL ALTER TABLE dbo.x ADD y int NULL;", "guarded")]
    [TestCase("IF COL_LENGTH(N'dbo.x', N'y') IS NULL ALTER TABLE dbo.x ADD y int NULL, z int NULL;", "in one ALTER TABLE")]
    [TestCase("IF COL_LENGTH(N'dbo.x', N'y') IS NULL ALTER TABLE dbo.x ADD y int NOT NULL;", "without a default")]
    [TestCase("EXEC (N'CREATE SCHEMA x');", "guarded")]
    [TestCase("MERGE dbo.x AS t USING dbo.y AS s ON t.id = s.id WHEN MATCHED THEN DELETE;", "MERGE")]
    [TestCase("UPDATE t SET id = 1 FROM dbo.x AS t;", "FROM")]
    [TestCase("ALTER TABLE dbo.x ALTER COLUMN id int NOT NULL;", "ALTER COLUMN")]
    [TestCase("DROP TABLE dbo.x;", "DROP")]
    [TestCase("IF 1 = 1 EXEC (N'DROP TABLE dbo.x');", "DROP")]
    [TestCase("PRINT N'Görsel';", "ASCII")]
    [TestCase("CREATE TRIGGER dbo.tr ON dbo.x AFTER UPDATE AS SELECT 1;", "trigger")]
    public void BrokenRules_AreFound_WhenAScriptBreaksThem(string batch, string rule) =>
        Assert.That(BrokenRules(new SchemaScript("2026-11-01_99_x.sql", $"{Head}\n{batch}\nGO\n")), Has.Some.Contains(rule));

    [TestCase("2026-11-01_0_x.sql", "", "name")]
    [TestCase("tables.sql", "", "name")]
    [TestCase("2026-11-01_99_x.sql", "SET QUOTED_IDENTIFIER ON;", "head")]
    [TestCase("2026-11-01_99_x.sql", "SET XACT_ABORT ON;", "head")]
    public void BrokenRules_AreFound_WhenNameOrHeadIsWrong(string name, string withoutLine, string rule)
    {
        var head = withoutLine.Length == 0 ? Head : Head.Replace(withoutLine + "\n", "", StringComparison.Ordinal);

        Assert.That(BrokenRules(new SchemaScript(name, $"-- Why.\n{head}\nPRINT N'x';\nGO\n")), Has.Some.Contains(rule));
        Assert.That(BrokenRules(new SchemaScript("2026-11-01_99_x.sql", $"-- Why.\n{Head}\nPRINT N'x';\nGO\n")), Is.Empty);
    }

    private const string Head = "SET XACT_ABORT ON;\nSET QUOTED_IDENTIFIER ON;\nSET ANSI_NULLS ON;\nSET NOCOUNT ON;\nGO\n";

    [GeneratedRegex(@"^\d{4}-\d{2}-\d{2}_\d{2}_[a-z0-9_]+\.sql$", RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern { get; }

    private static List<string> BrokenRules(SchemaScript script)
    {
        var visitor = new RuleVisitor();
        TSqlSyntax.Parse(script.Text).Accept(visitor);
        var broken = visitor.Broken;
        if (!NamePattern.IsMatch(script.Name))
            broken.Add($"the name {script.Name} is not yyyy-MM-dd_NN_what_it_does.sql");
        if (!System.Text.Ascii.IsValid(script.Text))
            broken.Add("not plain ASCII: sqlcmd reads a file in the machine's code page");
        var text = script.Text.ReplaceLineEndings("\n");
        var firstLines = string.Join(
            '\n', text.Split('\n').SkipWhile(line => line.Length == 0 || line.StartsWith("--", StringComparison.Ordinal)).Take(6));
        if (firstLines != Head)
            broken.Add("the head is not the four SET lines, GO and an empty line");
        if (!text.EndsWith("\nGO\n", StringComparison.Ordinal))
            broken.Add("the last line is not GO");
        return broken;
    }

    private static string? Broken(SchemaScript script, string right, string wrong)
    {
        // Columns are aligned in the scripts; one blank in the text to break stands for any number.
        var pattern = Regex.Escape(right).Replace(@"\ ", @"\s+", StringComparison.Ordinal);
        var text = Regex.Replace(script.Text, pattern, wrong.Replace("$", "$$", StringComparison.Ordinal), RegexOptions.CultureInvariant);
        return text == script.Text ? null : text;
    }

    private static string Folder([CallerFilePath] string thisFile = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(thisFile)!, "..", "..", "sql"));

    /// <summary>Finds what the folder's README forbids. A guard is an IF that names what the statement under it makes.</summary>
    private sealed class RuleVisitor : TSqlFragmentVisitor
    {
        private string _guard = "";

        public List<string> Broken { get; } = [];

        public override void ExplicitVisit(IfStatement node)
        {
            var outer = _guard;
            _guard = TSqlSyntax.TextOf(node.Predicate);
            node.ThenStatement.Accept(this);
            _guard = outer;
            node.ElseStatement?.Accept(this);
        }

        public override void Visit(CreateTableStatement node) => MustBeGuarded(node, Name(node.SchemaObjectName));

        public override void Visit(AlterTableAddTableElementStatement node)
        {
            // The check reads one guard for each: see SchemaScript.Parts.
            var added = node.Definition.ColumnDefinitions.Select(column => column.ColumnIdentifier.Value)
                .Concat(node.Definition.TableConstraints.Select(constraint => constraint.ConstraintIdentifier?.Value ?? "")).ToList();
            if (added.Count != 1)
                Broken.Add($"adds {added.Count} things in one ALTER TABLE");
            foreach (var column in node.Definition.ColumnDefinitions)
                MustBeGuarded(node, Name(node.SchemaObjectName), column.ColumnIdentifier.Value);
            foreach (var constraint in node.Definition.TableConstraints)
                MustBeGuarded(node, $"{node.SchemaObjectName.SchemaIdentifier?.Value}.{constraint.ConstraintIdentifier?.Value}");
            if (node.Definition.TableConstraints.Count > 0 && node.ExistingRowsCheckEnforcement != ConstraintEnforcement.NoCheck)
                Broken.Add("a constraint WITH CHECK: rows that are there already may break it");
            foreach (var column in node.Definition.ColumnDefinitions)
            {
                var isNullable = !column.Constraints.OfType<NullableConstraintDefinition>().Any(constraint => !constraint.Nullable);
                if (!isNullable && column.DefaultConstraint is null && column.ComputedColumnExpression is null)
                {
                    Broken.Add(
                        $"column {column.ColumnIdentifier.Value} is NOT NULL without a default: the release before cannot write the table");
                }
            }
        }

        public override void Visit(CreateIndexStatement node) => MustBeGuarded(node, Name(node.OnName), node.Name.Value);

        public override void Visit(CreateRoleStatement node) => MustBeGuarded(node, node.Name.Value);

        public override void Visit(CreateSchemaStatement node) => MustBeGuarded(node, node.Name.Value);

        public override void Visit(CreateTriggerStatement node) => Broken.Add("a trigger: OUTPUT is refused on a table that has one");

        public override void Visit(MergeStatement node) => Broken.Add("MERGE");

        public override void Visit(UpdateSpecification node)
        {
            if (node.FromClause is not null)
                Broken.Add("UPDATE with a FROM");
        }

        public override void Visit(AlterTableAlterColumnStatement node) => Broken.Add("ALTER COLUMN");

        public override void Visit(DropObjectsStatement node) => Broken.Add("DROP");

        public override void Visit(DropIndexStatement node) => Broken.Add("DROP INDEX");

        public override void Visit(AlterTableDropTableElementStatement node) => Broken.Add("DROP in ALTER TABLE");

        public override void Visit(ExecutableStringList node)
        {
            foreach (var text in node.Strings.OfType<StringLiteral>())
                TSqlSyntax.Parse(text.Value).Accept(this);
        }

        private void MustBeGuarded(TSqlStatement node, params string[] names)
        {
            if (!names.All(name => _guard.Contains($"N'{name}'", StringComparison.Ordinal)))
                Broken.Add($"not guarded by the name of what it makes: {TSqlSyntax.TextOf(node).Split('\n')[0]}");
        }

        private static string Name(SchemaObjectName name) => $"{name.SchemaIdentifier?.Value}.{name.BaseIdentifier.Value}";
    }
}
