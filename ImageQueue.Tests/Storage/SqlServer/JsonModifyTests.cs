using System.Data;
using System.Data.SqlTypes;
using System.Text.RegularExpressions;
using CsCheck;
using Dapper;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Messages;
using ImageQueue.Tests.Sql;
using Microsoft.Data.SqlClient;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>The expression's text and parameters, and its meaning by the evaluator's rules.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class JsonModifyTests
{
    [TestCase("{}", "<document>")]
    [TestCase("""{"a":1}""", "JSON_MODIFY(<document>, @m0, @m1)")]
    [TestCase("""{"a":null}""", "JSON_MODIFY(<document>, @m0, NULL)")]
    [TestCase("""{"a":[1]}""", "JSON_MODIFY(<document>, @m0, JSON_QUERY(@m1))")]
    [TestCase("""{"a":1,"b":"x"}""", "JSON_MODIFY(JSON_MODIFY(<document>, @m0, @m1), @m2, @m3)")]
    [TestCase("""{"a":{}}""",
        "JSON_MODIFY(<document>, @m0, JSON_QUERY(CASE WHEN LEFT(JSON_QUERY(extra_metadata, @m0), 1) = N'{' THEN "
            + "JSON_QUERY(extra_metadata, @m0) ELSE N'{}' END))")]
    [TestCase("""{"a":{"b":{"c":1}}}""",
        "JSON_MODIFY(<document>, @m0, JSON_QUERY("
        + "JSON_MODIFY(CASE WHEN LEFT(JSON_QUERY(extra_metadata, @m0), 1) = N'{' THEN JSON_QUERY(extra_metadata, @m0) ELSE N'{}' END, "
            + "@m1, JSON_QUERY("
        + "JSON_MODIFY(CASE WHEN LEFT(JSON_QUERY(extra_metadata, @m2), 1) = N'{' THEN JSON_QUERY(extra_metadata, @m2) ELSE N'{}' END, "
            + "@m3, @m4)))))")]
    public void For_WritesOneExpression(string patch, string expected) =>
        Assert.That(
            JsonModify.For(MetadataPatch.Parse(patch)).Expression,
            Is.EqualTo(expected.Replace("<document>", JsonModify.Document, StringComparison.Ordinal)));

    [Test]
    public void For_SendsPathsAsParameters_WithEveryStepQuoted()
    {
        var expression = JsonModify.For(MetadataPatch.Parse("""{"x y":{"a.b":{"$":null}}}"""));

        string[] paths = ["$.\"x y\"", "$.\"a.b\"", "$.\"x y\".\"a.b\"", "$.\"$\""];
        Assert.That(expression.Parameters.Select(p => p.Value), Is.EqualTo(paths));
        Assert.That(expression.Parameters, Has.All.Property(nameof(JsonModifyParameter.DbType)).EqualTo(DbType.String));
        Assert.That(expression.Parameters, Has.All.Property(nameof(JsonModifyParameter.Size)).EqualTo(4000));
    }

    [TestCase("1", DbType.Int64, "1", 0)]
    [TestCase("-0", DbType.Int64, "0", 0)]
    [TestCase("1e2", DbType.Int64, "100", 0)]
    [TestCase("0e99", DbType.Int64, "0", 0)]
    [TestCase("9223372036854775807", DbType.Int64, "9223372036854775807", 0)]
    [TestCase("-9223372036854775808", DbType.Int64, "-9223372036854775808", 0)]
    [TestCase("9223372036854775808", DbType.Decimal, "9223372036854775808", 0)]
    [TestCase("1.10", DbType.Decimal, "1.10", 2)]
    [TestCase("0.1", DbType.Decimal, "0.1", 1)]
    [TestCase("-0.0", DbType.Decimal, "0.0", 1)]
    [TestCase("-1.5e-3", DbType.Decimal, "-0.0015", 4)]
    [TestCase("99999999999999999999999999999999999999", DbType.Decimal, "99999999999999999999999999999999999999", 0)]
    [TestCase("-0.99999999999999999999999999999999999999", DbType.Decimal, "-0.99999999999999999999999999999999999999", 38)]
    public void For_KeepsEveryDigit_OfNumbers(string number, DbType type, string printed, int scale)
    {
        var parameter = JsonModify.For(MetadataPatch.Parse($$"""{"a":{{number}}}""")).Parameters[1];

        Assert.That(parameter.DbType, Is.EqualTo(type));
        Assert.That(Convert.ToString(parameter.Value, CultureInfo.InvariantCulture), Is.EqualTo(printed));
        Assert.That(parameter.Scale, Is.EqualTo(scale));
        Assert.That(parameter.Precision, Is.EqualTo(type == DbType.Decimal ? 38 : 0));
    }

    [TestCase(0, 4000)]
    [TestCase(4000, 4000)]
    [TestCase(4001, -1)]
    public void For_SendsTextsInTwoSizes_SoThatPlansAreShared(int length, int size)
    {
        var parameter = JsonModify.For(MetadataPatch.Of(("a", new string('ş', length)))).Parameters[1];

        Assert.That((parameter.DbType, parameter.Size), Is.EqualTo((DbType.String, size)));
    }

    [Test]
    public void For_GivesTheSameText_WhenOnlyKeysAndValuesDiffer() =>
        Assert.That(
            JsonModify.For(MetadataPatch.Parse("""{"a":{"b":1,"c":"x"},"d":null}""")).Expression,
            Is.EqualTo(JsonModify.For(MetadataPatch.Parse("""{"k":{"k":2.50,"l":true},"k2":null}""")).Expression));

    [Test]
    public void For_GrowsLinearly_WithDepthAndWidth()
    {
        // Quadratic or exponential growth would show as many times the bytes for each member at 15 levels.
        static int PerMember(int levels, int width) => JsonModify.For(Tree(levels, width)).Expression.Length / (levels * width);

        Assert.That(PerMember(15, 10), Is.LessThan(2 * PerMember(2, 10)));
        Assert.That(PerMember(1, 200), Is.LessThan(2 * PerMember(1, 20)));
    }

    [Test]
    public void For_StaysWithinSqlServersLimits_ForTheLargestPatches()
    {
        foreach (var patch in new[] { Tree(1, 256), Tree(16, 16), Tree(2, 128) })
        {
            var expression = JsonModify.For(patch);

            Assert.That(expression.Parameters, Has.Count.LessThanOrEqualTo(2 * MetadataPatch.MaxMembers));
            Assert.That(expression.Parameters.Where(p => p.Size == 4000).Max(p => ((string)p.Value).Length), Is.LessThanOrEqualTo(4000));
            Assert.That(JsonStructure.Difference(patch.Json, JsonModifyEvaluator.Evaluate(expression, null)), Is.Null);
        }
    }

    [Test]
    public void For_KeepsPathsShort_AtTheDeepestLongestKeys()
    {
        var key = new string('ş', MetadataPatch.MaxKeyLength);
        var patch = string.Concat(
            Enumerable.Repeat($$"""{"{{key}}":""", MetadataPatch.MaxDepth)) + "1" + new string('}', MetadataPatch.MaxDepth);

        Assert.That(
            JsonModify.For(MetadataPatch.Parse(patch)).Parameters.Select(p => p.Value).OfType<string>().Max(path => path.Length),
            Is.LessThan(4000));
    }

    [TestCaseSource(typeof(Rfc7396Table), nameof(Rfc7396Table.Cases))]
    public void For_GivesTheExpectedDocument_WhenEvaluated(MergeCase merge) =>
        Assert.That(JsonStructure.Difference(merge.Expected, Merge(merge)), Is.Null);

    [Test]
    public void For_FitsTheTable_InOneUpdate()
    {
        var updates = Rfc7396Table.All.Select(merge =>
            $"""
            UPDATE dbo.messages
            SET extra_metadata = {JsonModify.For(MetadataPatch.Parse(merge.Patch)).Expression}, updated_at = SYSUTCDATETIME()
            OUTPUT inserted.id, inserted.extra_metadata, inserted.status
            WHERE id = @id AND status = N'processing' AND attempt = @attempt;
            """);

        Assert.That(SchemaModel.StatementProblems(updates.Distinct()), Is.Empty);
    }

    [Test]
    public void For_EqualsReference_ForRandomDocuments() =>
        RandomJson.Merges.Sample(
            merge =>
                JsonStructure.Difference(
                    ReferenceMerge.Merge(merge.Target, merge.Patch),
                    JsonModifyEvaluator.Evaluate(JsonModify.For(MetadataPatch.Parse(merge.Patch)), merge.Target)) is null,
            iter: 500, threads: 1, print: merge => $"{merge.Target} + {merge.Patch}");

    /// <summary>Written by hand: an array has no members, and blanks are no part of the document.</summary>
    [TestCase(null, """{"x":1}""")]
    [TestCase("[1]", """{"x":1}""")]
    [TestCase(" [1]", """{"x":1}""")]
    [TestCase("{\"a\":\"b c\"}", """{"a":"b c","x":1}""")]
    [TestCase("\r\n\t {\"a\":\t\"b c\"}", """{"a":"b c","x":1}""")]
    public void For_StartsFromAnObject_WhateverIsStored(string? stored, string expected) =>
        Assert.That(
            JsonStructure.Difference(expected, JsonModifyEvaluator.Evaluate(JsonModify.For(MetadataPatch.Parse("""{"x":1}""")), stored)),
            Is.Null);

    [Test]
    [SetCulture("tr-TR")]
    public void For_IsTheSame_InATurkishCulture()
    {
        var patch = MetadataPatch.Parse("""{"I":1.5,"i":{"ı":1e2,"İ":0.1},"title":true}""");

        Assert.That(
            JsonStructure.Difference(
                """{"I":1.5,"i":{"ı":100,"İ":0.1},"title":true}""", JsonModifyEvaluator.Evaluate(JsonModify.For(patch), null)),
            Is.Null);
    }

    [TestCase(@"JSON_QUERY\((@m\d+)\)", "$1", TestName = "An array that does not come from JSON_QUERY")]
    [TestCase(@"JSON_QUERY\((CASE .*? END)\)", "$1", TestName = "An object that comes straight from CASE")]
    [TestCase("ELSE N'{}' END", "END", TestName = "A missing parent that is not made")]
    [TestCase(
        @"CASE WHEN LEFT\(.*?, 1\) = N'{' THEN (JSON_QUERY\(.*?\)) ELSE N'{}' END",
        "ISNULL($1, N'{}')",
        TestName = "An array that is merged into")]
    [TestCase(
        @"CASE WHEN LEFT\(.*?, 1\) = N'{' THEN (JSON_QUERY\(.*?\)) ELSE N'{}' END",
        "N'{}'",
        TestName = "An object that starts afresh")]
    [TestCase(
        @"CASE WHEN LEFT\(extra_metadata, 1\).*?ELSE N'{}' END",
        "extra_metadata",
        TestName = "A row without metadata that is not started")]
    [TestCase(@"CASE WHEN LEFT\(extra_metadata, 1\).*?ELSE N'{}' END", "N'{}'", TestName = "A row that starts afresh")]
    [TestCase(", NULL\\)", ", N'null')", TestName = "A null that is written")]
    [TestCase(
        @"JSON_QUERY\(JSON_MODIFY\((.*)\)\)\)$",
        "ISNULL(JSON_MODIFY($1), N'{}')))",
        TestName = "A merged object that comes through ISNULL")]
    public void Evaluator_GivesAnotherDocument_WhenTheNestingIsWrong(string right, string wrong)
    {
        var changed = 0;
        var noticed = 0;
        foreach (var merge in Rfc7396Table.All)
        {
            var expression = JsonModify.For(MetadataPatch.Parse(merge.Patch));
            var text = Regex.Replace(expression.Expression, right, wrong);
            if (text == expression.Expression)
                continue;
            changed++;
            noticed += IsWrong(merge, text, expression.Parameters) ? 1 : 0;
        }

        Assert.That(changed, Is.Positive, "no expression of the table was changed");
        Assert.That(noticed, Is.Positive, "the evaluator takes the wrong nesting for a right one");
    }

    [Test]
    public void Evaluator_ChangesNothing_WhenAParentIsMissing()
    {
        JsonModifyParameter[] path = [Text("@p", "$.\"a\".\"b\"")];

        Assert.That(
            JsonModifyEvaluator.Evaluate("JSON_MODIFY(ISNULL(extra_metadata, N'{}'), @p, N'x')", path, """{"c":1}"""),
            Is.EqualTo("""{"c":1}"""));
        Assert.That(JsonModifyEvaluator.Evaluate("JSON_MODIFY(extra_metadata, @p, N'x')", path, """{"a":7}"""), Is.EqualTo("""{"a":7}"""));
        Assert.That(
            JsonModifyEvaluator.Evaluate("JSON_MODIFY(extra_metadata, @p, N'x')", path, """{"a":{}}"""), Is.EqualTo("""{"a":{"b":"x"}}"""));
    }

    [TestCase("N'{}'", """{"a":"{}"}""")]
    [TestCase("JSON_QUERY(N'{}')", """{"a":{}}""")]
    [TestCase("JSON_MODIFY(N'{}', '$.b', N'x')", """{"a":{"b":"x"}}""")]
    [TestCase("ISNULL(JSON_QUERY(N'{}'), N'[]')", """{"a":"{}"}""")]
    [TestCase("CASE WHEN N'a' = N'A' THEN JSON_QUERY(N'{}') END", """{"a":"{}"}""")]
    [TestCase("JSON_QUERY(CASE WHEN N'a' = N'b' THEN N'[]' ELSE JSON_QUERY(N'{}') END)", """{"a":{}}""")]
    [TestCase("JSON_QUERY(N'{\"x\":1}', '$.x')", "{}")]
    [TestCase("NULL", "{}")]
    public void Evaluator_QuotesText_UnlessItComesStraightFromJsonFunctions(string value, string expected) =>
        Assert.That(
            JsonModifyEvaluator.Evaluate($"JSON_MODIFY(ISNULL(extra_metadata, N'{{}}'), '$.a', {value})", [], "{}"), Is.EqualTo(expected));

    [Test]
    public void Evaluator_CutsText_ToThePlaceItIsPutIn()
    {
        JsonModifyParameter[] parameters = [new("@short", "", DbType.String, 2, 0, 0), new("@cut", "12345", DbType.String, 3, 0, 0)];

        Assert.That(
            JsonModifyEvaluator.Evaluate("JSON_MODIFY(extra_metadata, '$.a', @cut)", parameters, "{}"), Is.EqualTo("""{"a":"123"}"""));
        Assert.That(
            JsonModifyEvaluator.Evaluate("JSON_MODIFY(extra_metadata, '$.a', ISNULL(LEFT(extra_metadata, 1), N'long'))", parameters, "{}"),
            Is.EqualTo("""{"a":"{"}"""));
        Assert.That(JsonModifyEvaluator.Evaluate("ISNULL(LEFT(extra_metadata, 1), N'long')", parameters, null), Is.EqualTo("l"));
    }

    [TestCase("JSON_MODIFY(extra_metadata, 'a', N'x')", "13607")]
    [TestCase("JSON_MODIFY(extra_metadata, '$.\"a', N'x')", "13607")]
    [TestCase("JSON_MODIFY(N'{', '$.a', N'x')", "13609")]
    [TestCase("JSON_MODIFY(extra_metadata, '$.a', @undeclared)", "137")]
    [TestCase("JSON_MODIFY(other_column, '$.a', N'x')", "207")]
    [TestCase("JSON_MODIFY(extra_metadata, '$.a', N'x'", "46029")]
    [TestCase(
        "CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = "
            + "N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN "
                + "CASE WHEN N'1' = N'1' THEN CASE WHEN N'1' = N'1' THEN N'x' END END END END END END END END END END END", "125")]
    [TestCase("CONCAT(extra_metadata, N'x')", "not known")]
    public void Evaluator_Fails_WhereSqlServerWould(string expression, string error) =>
        Assert.That(
            () => JsonModifyEvaluator.Evaluate(expression, [], "{}"), Throws.TypeOf<SqlFailedException>().With.Message.Contains(error));

    [Test]
    public void AddTo_GivesTypedParameters()
    {
        var expression = JsonModify.For(
            MetadataPatch.Parse(
                $$"""{"n":1,"d":12345678901234567890.1234567890123456,"b":true,"s":"x","l":"{{new string('y', 4001)}}","a":[1]}"""));
        var parameters = new DynamicParameters();
        expression.AddTo(parameters);
        var sent = SentByDapper(expression.Expression, parameters);

        string[] expected =
        [
            "NVarChar(4000)", "BigInt(0)=1", "NVarChar(4000)", "Decimal(38,16)=12345678901234567890.1234567890123456", "NVarChar(4000)",
            "Bit(0)=True",
            "NVarChar(4000)", "NVarChar(4000)", "NVarChar(4000)", "NVarChar(-1)", "NVarChar(4000)", "NVarChar(-1)",
        ];
        Assert.That(sent.Select(parameter => parameter.Text), Is.EqualTo(expected));
        Assert.That(sent.Select(parameter => $"@{parameter.Name}"), Is.EqualTo(expression.Parameters.Select(p => p.Name)));
    }

    /// <summary>The parameters as Dapper hands them to SqlClient at the moment of running; it clears them afterwards.</summary>
    private static List<(string Name, string Text)> SentByDapper(string sql, DynamicParameters parameters)
    {
        var sent = new List<(string, string)>();
        using var command = new SqlCommand();
        var recorder = new Mock<IDbCommand>();
        recorder.Setup(c => c.Parameters).Returns(command.Parameters);
        recorder.Setup(c => c.CreateParameter()).Returns(command.CreateParameter);
        recorder.Setup(c => c.ExecuteNonQuery()).Callback(
            () => sent.AddRange(command.Parameters.Cast<SqlParameter>().Select(p => (p.ParameterName, Describe(p)))));
        Mock.Of<IDbConnection>(c => c.State == ConnectionState.Open && c.CreateCommand() == recorder.Object).Execute(sql, parameters);
        return sent;
    }

    private static string Describe(SqlParameter p) => p.SqlDbType switch
    {
        SqlDbType.NVarChar => string.Create(CultureInfo.InvariantCulture, $"NVarChar({p.Size})"),
        SqlDbType.Decimal => string.Create(CultureInfo.InvariantCulture, $"Decimal({p.Precision},{p.Scale})={(SqlDecimal)p.Value}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{p.SqlDbType}({p.Size})={p.Value}"),
    };

    private static JsonModifyParameter Text(string name, string value) => new(name, value, DbType.String, 4000, 0, 0);

    private static string? Merge(MergeCase merge) =>
        JsonModifyEvaluator.Evaluate(JsonModify.For(MetadataPatch.Parse(merge.Patch)), merge.Target);

    private static bool IsWrong(MergeCase merge, string text, IReadOnlyList<JsonModifyParameter> parameters)
    {
        try
        {
            return JsonStructure.Difference(merge.Expected, JsonModifyEvaluator.Evaluate(text, parameters, merge.Target)) is not null;
        }
        catch (SqlFailedException)
        {
            return true;
        }
    }

    /// <summary>Objects nested <paramref name="levels"/> deep with <paramref name="width"/> members each.</summary>
    private static MetadataPatch Tree(int levels, int width)
    {
        var json = "1";
        for (var level = 0; level < levels; level++)
        {
            var others = Enumerable.Range(1, width - 1).Select(i => string.Create(CultureInfo.InvariantCulture, $",\"k{i:000}\":{i}"));
            json = $"{{\"k000\":{json}{string.Concat(others)}}}";
        }

        return MetadataPatch.Parse(json);
    }
}
