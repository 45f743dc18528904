using System.Text.RegularExpressions;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using Microsoft.SqlServer.TransactSql.ScriptDom;
using NUnit.Framework;

namespace ImageQueue.Tests.Sql;

/// <summary>Each statement is served by the indexes that <c>sql/README.md</c> names, and each index serves one.</summary>
public sealed partial class SqlServerStatementTests
{
    /// <summary>
    /// Every look into a table, in every statement of a method, can seek by an index that the method's line names: by a condition
    /// on its first column, with the conditions of its filter, and in its order where a TOP ends the reading.
    /// </summary>
    [Test]
    public async Task Statements_AreServedByTheIndexes_ThatTheReadmeNames()
    {
        var indexes = Indexes();
        var served = ServedBy();
        foreach (var method in Calls.GroupBy(call => call.Method))
        {
            Assert.That(served, Does.ContainKey(method.Key), $"sql/README.md says of no index that it serves {method.Key}");
            var used = new HashSet<string>(StringComparer.Ordinal);
            foreach (var (_, call) in method)
            {
                foreach (var sent in await SentByStoreAsync(call))
                {
                    foreach (var look in Looks(sent.Text).Where(
                        look =>
                            !((look.Table is "dbo.imagequeue_leases" or "dbo.imagequeue_pauses") && served[method.Key].Contains("whole"))))
                    {
                        var serving = served[method.Key].Where(name => indexes.TryGetValue(name, out var index)
                            && index.Serves(look)).ToList();
                        Assert.That(
                            serving,
                            Is.Not.Empty,
                            $"{method.Key}: none of {string.Join(", ", served[method.Key])} serves {look}\n{sent.Text}");
                        used.UnionWith(serving);
                    }
                }
            }

            Assert.That(served[method.Key].Except(used).Except(["whole"]), Is.Empty, $"{method.Key} needs no such index");
        }
    }

    /// <summary>An index costs each write.</summary>
    [Test]
    public void Indexes_EachServeAStatement()
    {
        var named = ServedBy().Values.SelectMany(names => names).ToHashSet(StringComparer.Ordinal);

        Assert.That(
            Indexes().Keys.Except(named).Where(name => Indexes()[name].Table is "dbo.messages"
                or "dbo.conversations"
                or "dbo.imagequeue_uploads"
                or "dbo.imagequeue_leases"),
            Is.Empty);
    }

    /// <summary>The test above must be able to fail.</summary>
    [TestCase("SELECT id FROM dbo.messages WHERE queued_at IS NOT NULL AND status = N'queued' AND queued_at > @x", true)]
    [TestCase("SELECT id FROM dbo.messages WHERE status = N'queued' AND queued_at > @x", false)]
    [TestCase("SELECT id FROM dbo.messages WHERE queued_at IS NOT NULL AND queued_at > @x", false)]
    [TestCase("SELECT id FROM dbo.messages WHERE queued_at IS NOT NULL AND (status = N'queued' OR attempt = 1)", false)]
    [TestCase("SELECT TOP (5) id FROM dbo.messages WHERE queued_at IS NOT NULL AND status = N'queued' ORDER BY queued_at, id", true)]
    [TestCase("SELECT TOP (5) id FROM dbo.messages WHERE queued_at IS NOT NULL AND status = N'queued' ORDER BY updated_at", false)]
    [TestCase("UPDATE dbo.messages SET attempt = 1 WHERE queued_at IS NOT NULL AND status IN (N'queued', N'error')", true)]
    [TestCase("UPDATE dbo.messages SET attempt = 1 WHERE id = @id", false)]
    public void Index_Serves_ByItsFirstColumnItsFilterAndItsOrder(string statement, bool serves) =>
        Assert.That(Indexes()["IX_messages_status"].Serves(Looks(statement).Single()), Is.EqualTo(serves));

    /// <summary>The README's table: a method's name, and the indexes that serve its statements.</summary>
    private static Dictionary<string, List<string>> ServedBy() => Lines("## Which index serves which statement")
        .SelectMany(
            cells =>
                Code.Matches(cells[0]).Select(
                    method =>
                        (Method: method.Groups[1].Value, Indexes: Code.Matches(cells[1]).Select(index => index.Groups[1].Value).ToList())))
        .ToDictionary(line => line.Method, line => line.Indexes, StringComparer.Ordinal);

    private static IEnumerable<string[]> Lines(string heading) => File.ReadLines(Path.Combine(Repository.Root, "sql", "README.md"))
        .SkipWhile(line => line != heading).Skip(1).TakeWhile(line => !line.StartsWith('#'))
        .Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('|')[1..]);

    /// <summary>Every index that the scripts make, primary keys included.</summary>
    private static Dictionary<string, Index> Indexes()
    {
        var definitions = SchemaScripts.All.SelectMany(script => SchemaModel.Definitions(script.Text)).ToList();
        var keys = definitions.OfType<CreateTableStatement>()
            .SelectMany(table => table.Definition.TableConstraints.OfType<UniqueConstraintDefinition>()
                .Select(
                    key =>
                        (Name: key.ConstraintIdentifier.Value,
                            Index: new Index(
                                Name(table.SchemaObjectName), [.. key.Columns.Select(column => TSqlSyntax.TextOf(column.Column))], []))))
            .ToDictionary(key => key.Name, key => key.Index, StringComparer.Ordinal);
        foreach (var index in definitions.OfType<CreateIndexStatement>())
        {
            var table = Name(index.OnName);
            var conditions = index.FilterPredicate is { } filter ? Conditions(filter, "").ToList() : [];
            // The clustered key is behind every index's own columns.
            keys[index.Name.Value] = new Index(
                table, [.. index.Columns.Select(column => TSqlSyntax.TextOf(column.Column)), "id"], conditions);
        }

        return keys;
    }

    private static List<Look> Looks(string statement)
    {
        var finder = new LookFinder();
        TSqlSyntax.Parse(statement).Accept(finder);
        return finder.Found;
    }

    private static string Name(SchemaObjectName name) => $"{name.SchemaIdentifier?.Value}.{name.BaseIdentifier.Value}";

    /// <summary>What the conditions that must hold together say of a table's columns; alternatives say nothing.</summary>
    private static IEnumerable<Condition> Conditions(BooleanExpression? where, string table)
    {
        switch (where)
        {
            case BooleanBinaryExpression { BinaryExpressionType: BooleanBinaryExpressionType.And } both:
                return Conditions(both.FirstExpression, table).Concat(Conditions(both.SecondExpression, table));
            case BooleanComparisonExpression comparison when comparison.ComparisonType != BooleanComparisonType.NotEqualToBrackets:
                var kind = comparison.ComparisonType == BooleanComparisonType.Equals ? "=" : "range";
                return new[] { comparison.FirstExpression, comparison.SecondExpression }
                    .OfType<ColumnReferenceExpression>()
                        .Where(column => IsOf(column, table))
                        .Select(column => new Condition(NameOf(column), kind));
            case InPredicate { NotDefined: false, Expression: ColumnReferenceExpression column } when IsOf(column, table):
                return [new Condition(NameOf(column), "=")];
            case BooleanIsNullExpression { Expression: ColumnReferenceExpression column } isNull when IsOf(column, table):
                return [new Condition(NameOf(column), isNull.IsNot ? "is not null" : "is null")];
            default:
                return [];
        }
    }

    private static string NameOf(ColumnReferenceExpression column) => column.MultiPartIdentifier.Identifiers[^1].Value;

    private static bool IsOf(ColumnReferenceExpression column, string table) =>
        column.MultiPartIdentifier.Identifiers is not [.., var qualifier, _] || qualifier.Value == table || table.Length == 0;

    [GeneratedRegex("`([^`]+)`", RegexOptions.CultureInvariant)]
    private static partial Regex Code { get; }

    private sealed record Condition(string Column, string Kind);

    /// <summary>One reading of one table, as a statement asks for it.</summary>
    private sealed record Look(string Table, IReadOnlyList<Condition> Conditions, IReadOnlyList<string> Order)
    {
        public override string ToString() =>
            $"{Table} by {string.Join(", ", Conditions.Select(condition => $"{condition.Column} {condition.Kind}"))}"
            + (Order.Count > 0 ? $" in the order of {string.Join(", ", Order)}" : "");
    }

    private sealed record Index(string Table, IReadOnlyList<string> Columns, IReadOnlyList<Condition> Filter)
    {
        public bool Serves(Look look) =>
            look.Table == Table
            && Filter.All(look.Conditions.Contains)
            && look.Conditions.Any(condition => condition.Column == Columns[0] && (condition.Kind is "=" or "range"))
            && Columns.SkipWhile(column => look.Conditions.Contains(new Condition(column, "=")))
                .Take(look.Order.Count)
                .SequenceEqual(look.Order);
    }

    private sealed class LookFinder : TSqlFragmentVisitor
    {
        public List<Look> Found { get; } = [];

        public override void Visit(QuerySpecification node)
        {
            if (node.FromClause?.TableReferences is [NamedTableReference table])
            {
                // Groups are sorted after they have been counted.
                var order = node.TopRowFilter is null || node.GroupByClause is not null ? null : node.OrderByClause;
                Add(
                    table,
                    node.WhereClause?.SearchCondition,
                    [.. order?.OrderByElements.Select(element => TSqlSyntax.TextOf(element.Expression)) ?? []]);
            }
            else if (node.FromClause?.TableReferences is [QualifiedJoin join]
                && join is { FirstTableReference: NamedTableReference first, SecondTableReference: NamedTableReference second })
            {
                // The order of two tables together is no index's.
                Add(first, node.WhereClause?.SearchCondition, []);
                Add(second, join.SearchCondition, []);
            }
        }

        public override void Visit(DeleteSpecification node)
        {
            if (node.Target is NamedTableReference table)
                Add(table, node.WhereClause?.SearchCondition, []);
        }

        public override void Visit(UpdateSpecification node)
        {
            if (node.Target is NamedTableReference table)
                Add(table, node.WhereClause?.SearchCondition, []);
        }

        private void Add(NamedTableReference table, BooleanExpression? where, IReadOnlyList<string> order) => Found.Add(new Look(
            Name(table.SchemaObject),
            [.. Conditions(where, table.Alias?.Value ?? table.SchemaObject.BaseIdentifier.Value)],
            order));
    }
}
