using System.Data;
using System.Xml.Linq;
using ImageQueue.Tests.Support;
using Microsoft.Data.SqlClient;
using NUnit.Framework;

namespace ImageQueue.Tests.Sql;

/// <summary>What a server makes of the statements.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
internal sealed class SqlServerPlanTests
{
    /// <summary>No statement looks through a whole table.</summary>
    [Test]
    public async Task Statements_AreSeeks_InTheServersPlans()
    {
        await using var database = await SqlServerStoreDatabase.CreateAsync();
        await database.ExecuteAsync(
            """
            INSERT INTO dbo.conversations (id, username) SELECT CONCAT(N'c', those.value), CONCAT(N'u', those.value % 100) FROM
                OPENJSON(@rows) WITH (value int '$') AS those;
            INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, queued_at, hangfire_job_id)
            SELECT CONCAT(N'c', those.value), CONCAT(N'u', those.value % 100), N'bot', N'x', CONCAT(N'{"status":"complete","job_id":"',
                those.value, N'"}'), SYSUTCDATETIME(), CONCAT(N'h', those.value)
            FROM OPENJSON(@rows) WITH (value int '$') AS those;
            UPDATE STATISTICS dbo.messages; UPDATE STATISTICS dbo.conversations;
            """,
            new { rows = $"[{string.Join(',', Enumerable.Range(0, 20_000))}]" });
        await using var connection = new SqlConnection(database.ConnectionString);
        await connection.OpenAsync();
        await RunAsync(connection, "SET SHOWPLAN_XML ON");

        var scans = new List<string>();
        foreach (var (method, call) in SqlServerStatementTests.Calls.Where(call => call.Method != nameof(IMessageStore.ListLeasesAsync)))
        {
            foreach (var sent in await SqlServerStatementTests.SentByStoreAsync(call))
            {
                var plan = XDocument.Parse((string)(await RunAsync(connection, Declared(sent)))!);
                scans.AddRange(
                    from operation in plan.Descendants()
                    where operation.Name.LocalName == "RelOp"
                        && ((string?)operation.Attribute("PhysicalOp"))!.EndsWith("Scan", StringComparison.Ordinal)
                    from scanned in operation.Elements().Elements().Where(element => element.Name.LocalName == "Object")
                    where (string?)scanned.Attribute("Table") is "[messages]" or "[conversations]"
                    select $"{method}: {(string?)operation.Attribute("PhysicalOp")} of {(string?)scanned.Attribute("Index")}");
            }
        }

        Assert.That(scans.Distinct(), Is.Empty);
    }

    private static async Task<object?> RunAsync(SqlConnection connection, string text)
    {
        await using var command = new SqlCommand(text, connection);
        return await command.ExecuteScalarAsync();
    }

    /// <summary>A plan is shown of what a batch holds itself, not of what it has others run: so its parameters are variables.</summary>
    private static string Declared(SentStatement sent) =>
        string.Concat(sent.Parameters.Select(parameter => $"DECLARE @{parameter.Name} {Type(parameter)};\n")) + sent.Text;

    private static string Type(SentParameter parameter) => parameter.Type switch
    {
        SqlDbType.NVarChar =>
            parameter.Size == -1 ? "nvarchar(max)" : string.Create(CultureInfo.InvariantCulture, $"nvarchar({parameter.Size})"),
        SqlDbType.VarBinary => "binary(8)",
        SqlDbType.DateTime2 => "datetime2(3)",
        SqlDbType.Decimal => "decimal(38, 10)",
        var type => type.ToString(),
    };
}
