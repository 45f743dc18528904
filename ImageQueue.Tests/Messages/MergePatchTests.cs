using CsCheck;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>The reference merge against the table, and SQLite's <c>json_patch</c> against the reference.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class MergePatchTests
{
    private SqliteConnection _sqlite = null!;

    [OneTimeSetUp]
    public void OpenSqlite()
    {
        _sqlite = new SqliteConnection("Data Source=:memory:");
        _sqlite.Open();
    }

    [OneTimeTearDown]
    public void CloseSqlite() => _sqlite.Dispose();

    [Test]
    public void Table_HasNoDuplicateNames_AndAtLeastSixtyCases()
    {
        Assert.That(Rfc7396Table.All, Has.Count.GreaterThanOrEqualTo(60));
        Assert.That(Rfc7396Table.All.Select(merge => merge.Name), Is.Unique);
    }

    [TestCaseSource(typeof(Rfc7396Table), nameof(Rfc7396Table.Cases))]
    public void Reference_GivesTheExpectedDocument_WhenMerged(MergeCase merge) =>
        Assert.That(
            JsonStructure.Difference(merge.Expected, ReferenceMerge.Merge(merge.Target, MetadataPatch.Parse(merge.Patch).Json)), Is.Null);

    [TestCaseSource(typeof(Rfc7396Table), nameof(Rfc7396Table.Cases))]
    public void Sqlite_GivesTheExpectedDocument_WhenMerged(MergeCase merge) =>
        Assert.That(JsonStructure.Difference(merge.Expected, SqlitePatch(merge.Target, MetadataPatch.Parse(merge.Patch))), Is.Null);

    [Test]
    public void Sqlite_EqualsReference_ForRandomDocuments() =>
        RandomJson.Merges.Sample(
            merge =>
                JsonStructure.Difference(
                    ReferenceMerge.Merge(merge.Target, merge.Patch), SqlitePatch(merge.Target, MetadataPatch.Parse(merge.Patch))) is null,
            iter: 2000, threads: 1, print: merge => $"{merge.Target} + {merge.Patch}");

    [TestCase("""{"a":1}""", """{"a":1.0}""", true)]
    [TestCase("""{"a":1,"b":2}""", """{"b":2e0,"a":10e-1}""", true)]
    [TestCase("""{"a":9007199254740993}""", """{"a":9007199254740992}""", false)]
    [TestCase("""{"a":1}""", """{"a":"1"}""", false)]
    [TestCase("""{"a":1}""", """{"a":1,"b":null}""", false)]
    [TestCase("""{"a":1,"b":null}""", """{"a":1}""", false)]
    [TestCase("""{"a":[1,2]}""", """{"a":[2,1]}""", false)]
    [TestCase("""{"i":1}""", """{"İ":1}""", false)]
    [TestCase("""{"a":{"b":"x"}}""", """{"a":{"b":"X"}}""", false)]
    public void Difference_TellsDocumentsApart_ByValue(string left, string right, bool same) =>
        Assert.That(JsonStructure.Difference(left, right) is null, Is.EqualTo(same));

    private string SqlitePatch(string? target, MetadataPatch patch)
    {
        using var command = _sqlite.CreateCommand();
        command.CommandText = "SELECT json_patch(ifnull($target, '{}'), $patch)";
        command.Parameters.AddWithValue("$target", (object?)target ?? DBNull.Value);
        command.Parameters.AddWithValue("$patch", patch.Json);
        return (string)command.ExecuteScalar()!;
    }
}
