using ImageQueue.Core.Storage.SqlServer;
using Microsoft.SqlServer.Dac.Model;
using Microsoft.SqlServer.TransactSql.ScriptDom;

namespace ImageQueue.Tests.Sql;

/// <summary>
/// A database as the scripts would leave it, in DacFx's model, which resolves every name without a server. The model takes
/// definitions only, so they are taken out of the IFs and EXECs around them, and what a later script adds to a table is written
/// into the table's own definition.
/// </summary>
internal static class SchemaModel
{
    /// <summary>What does not hold together in the database that the scripts make: unknown tables and columns, doubled names.</summary>
    public static IReadOnlyList<string> Problems(IEnumerable<string> scripts)
    {
        using var model = new TSqlModel(SqlServerVersion.Sql140, new TSqlModelOptions());
        var problems = new List<string>();
        var definitions = scripts.SelectMany(Definitions).ToList();
        var additions = definitions.OfType<AlterTableAddTableElementStatement>().ToLookup(addition => NameOf(addition.SchemaObjectName));
        var tables = definitions.OfType<CreateTableStatement>()
            .Select(table => NameOf(table.SchemaObjectName))
            .ToHashSet(StringComparer.OrdinalIgnoreCase);
        foreach (var definition in definitions)
        {
            if (definition is AlterTableAddTableElementStatement addition && tables.Contains(NameOf(addition.SchemaObjectName)))
                continue;
            try
            {
                model.AddObjects(
                    definition is CreateTableStatement table
                        ? Whole(table, additions[NameOf(table.SchemaObjectName)])
                        : TSqlSyntax.TextOf(definition));
            }
            catch (DacModelException e)
            {
                problems.Add(e.Message);
            }
        }

        return [.. problems, .. model.Validate().Select(message => message.ToString())];
    }

    /// <summary>The table with what was added to it.</summary>
    private static string Whole(CreateTableStatement table, IEnumerable<AlterTableAddTableElementStatement> additions)
    {
        var text = TSqlSyntax.TextOf(table);
        var end = text.LastIndexOf(')');
        return string.Concat([text[..end], .. additions.Select(addition => $",\n{TSqlSyntax.TextOf(addition.Definition)}"), text[end..]]);
    }

    private static string NameOf(SchemaObjectName name) => $"{name.SchemaIdentifier?.Value}.{name.BaseIdentifier.Value}";

    /// <summary>
    /// What is wrong with statements against the database that the product's scripts make: what cannot be parsed on the
    /// oldest or the newest server, and tables and columns that are not there. Parameters need no declaration.
    /// </summary>
    /// <param name="statements">What is sent.</param>
    /// <param name="scripts">What made the tables; null for all of the product's scripts.</param>
    public static IReadOnlyList<string> StatementProblems(IEnumerable<string> statements, IEnumerable<string>? scripts = null)
    {
        var texts = statements.ToList();
        var unreadable = texts.SelectMany(TSqlSyntax.Errors).ToList();
        if (unreadable.Count > 0)
            return unreadable;

        // A procedure's body is resolved like a view's: DacFx has no other place for a statement.
        var procedures = texts.Select((text, i) =>
        {
            var variables = new VariableFinder();
            TSqlSyntax.Parse(text).Accept(variables);
            var parameters = string.Join(", ", variables.Names.Select(name => $"{name} nvarchar(max)"));
            return $"CREATE PROCEDURE dbo.statement_{i.ToString(CultureInfo.InvariantCulture)} {parameters} AS\n{text}\nGO\n";
        });
        var own = texts.SelectMany(Definitions).OfType<CreateTableStatement>().Select(TSqlSyntax.TextOf);
        return Problems(
            [
                .. scripts ?? SchemaScripts.All.Select(script => script.Text),
                .. HangfireTables(),
                .. SystemProcedures,
                .. own,
                .. procedures])
            .Where(problem => !problem.Contains("[sys].", StringComparison.Ordinal))
            .ToList();
    }

    /// <summary>Hangfire's tables as its own script first makes them; later versions of its schema change types, not these names.</summary>
    private static IEnumerable<string> HangfireTables() => Definitions(SchemaScripts.Hangfire.Text)
        .OfType<CreateTableStatement>()
        .DistinctBy(table => table.SchemaObjectName.BaseIdentifier.Value)
        .Select(TSqlSyntax.TextOf);

    /// <summary>As Microsoft documents them: the model knows no system objects, so views of <c>sys</c> are not looked at.</summary>
    private static IEnumerable<string> SystemProcedures =>
    [
        "CREATE PROCEDURE dbo.sp_getapplock @Resource nvarchar(255), @LockMode nvarchar(32), @LockOwner nvarchar(32) = N'Transaction', "
            + "@LockTimeout int = NULL AS RETURN 0;",
        "CREATE PROCEDURE dbo.sp_releaseapplock @Resource nvarchar(255), @LockOwner nvarchar(32) = N'Transaction' AS RETURN 0;",
    ];

    /// <summary>Every definition and grant of the script, guarded or not, in order.</summary>
    public static IReadOnlyList<TSqlStatement> Definitions(string script)
    {
        var finder = new DefinitionFinder();
        TSqlSyntax.Parse(script).Accept(finder);
        return finder.Found;
    }

    private sealed class DefinitionFinder : TSqlFragmentVisitor
    {
        public List<TSqlStatement> Found { get; } = [];

        public override void ExplicitVisit(CreateTableStatement node) => Found.Add(node);

        public override void ExplicitVisit(AlterTableAddTableElementStatement node) => Found.Add(node);

        public override void ExplicitVisit(CreateIndexStatement node) => Found.Add(node);

        public override void ExplicitVisit(CreateRoleStatement node) => Found.Add(node);

        public override void ExplicitVisit(CreateSchemaStatement node) => Found.Add(node);

        public override void ExplicitVisit(CreateViewStatement node) => Found.Add(node);

        public override void ExplicitVisit(CreateProcedureStatement node) => Found.Add(node);

        public override void ExplicitVisit(GrantStatement node) => Found.Add(node);

        public override void ExplicitVisit(ExecutableStringList node)
        {
            foreach (var text in node.Strings.OfType<StringLiteral>())
                Found.AddRange(Definitions(text.Value));
        }
    }

    private sealed class VariableFinder : TSqlFragmentVisitor
    {
        private readonly SortedSet<string> _used = new(StringComparer.OrdinalIgnoreCase);
        private readonly HashSet<string> _declared = new(StringComparer.OrdinalIgnoreCase);

        public IEnumerable<string> Names => _used.Except(_declared, StringComparer.OrdinalIgnoreCase);

        public override void Visit(VariableReference node) => _used.Add(node.Name);

        public override void Visit(DeclareVariableElement node) => _declared.Add(node.VariableName.Value);

        public override void Visit(DeclareTableVariableBody node) => _declared.Add(node.VariableName.Value);
    }
}
