using System.Data;
using System.Reflection;
using System.Text.RegularExpressions;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Sql;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Startup;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.SqlServer.TransactSql.ScriptDom;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>What counts as there, what a start says of what is not, and the <c>schema</c> command.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class SchemaInstallerTests
{
    private const string ConnectionString = "Server=db1;Database=Images;User ID=imagequeue;Password=Gizli1!";

    /// <summary>The check reads the scripts' own text, so it must read all of it.</summary>
    [Test]
    public void Parts_AreEveryTableColumnAndIndex_OfTheScripts()
    {
        var definitions = SchemaScripts.All.SelectMany(script => SchemaModel.Definitions(script.Text)).ToList();
        var expected = definitions.OfType<CreateTableStatement>().SelectMany(Parts)
            .Concat(definitions.OfType<AlterTableAddTableElementStatement>().SelectMany(Parts))
            .Concat(definitions.OfType<CreateIndexStatement>().Select(Part));

        var parts = SchemaScripts.All.SelectMany(script => script.Parts).Select(part => part.Name).ToList();

        Assert.That(parts, Is.EquivalentTo(expected));
        Assert.That(
            parts,
            Does.Contain("column dbo.messages.status")
                .And.Contain("column dbo.messages.failures")
                .And.Contain("index dbo.messages.UX_messages_idempotency_key"));
        Assert.That(
            SchemaScripts.All.SelectMany(script => script.Parts).Select(part => part.MissingWhen).Distinct().Count(),
            Is.EqualTo(parts.Count));
    }

    /// <summary>A column that a later script adds is looked for as well.</summary>
    [Test]
    public void Parts_HoldAddedColumns_ByTheirGuard()
    {
        var script = new SchemaScript(
            "2027-01-01_00_x.sql",
            "IF COL_LENGTH(N'dbo.messages', N'model') IS NULL\n    ALTER TABLE dbo.messages ADD model nvarchar(100) NULL;\nGO\n");

        Assert.That(
            script.Parts.Single(),
            Is.EqualTo(new SchemaPart(
                "2027-01-01_00_x.sql", true, "column dbo.messages.model", "COL_LENGTH(N'dbo.messages', N'model') IS NULL")));
    }

    /// <summary>What sqlcmd calls GO is where one batch ends.</summary>
    [Test]
    public void Batches_AreWhatGoSeparates()
    {
        Assert.That(
            new SchemaScript("x", "SELECT 1;\nGO\nSELECT 'GO';\n  GOTO x;\nGO \n\nGO\n").Batches.Select(batch => batch.Trim()),
            Is.EqualTo(new[] { "SELECT 1;", "SELECT 'GO';\n  GOTO x;" }));
        Assert.That(SchemaScripts.All.SelectMany(script => script.Batches).SelectMany(TSqlSyntax.Errors), Is.Empty);
    }

    /// <summary>Storage:ApplySchema=false on a database whose tables other means have made.</summary>
    [Test]
    public async Task Prepare_Succeeds_WhenEverythingIsThere_WithoutAJournal()
    {
        var (database, sent) = Database(missing: _ => false);

        await database.PrepareAsync(CancellationToken.None);

        Assert.That(sent.All.Select(statement => statement.Text), Has.None.Contains("imagequeue_scripts").And.None.Contains("CREATE"));
    }

    /// <summary>The sentence names the script, and how to run it.</summary>
    [Test]
    public void Prepare_NamesTheScripts_WhenTablesAreMissing()
    {
        var (database, _) = Database(missing: _ => true, hangfire: null);

        Assert.That(() => database.PrepareAsync(CancellationToken.None), Throws.TypeOf<SchemaException>().With.Message.EqualTo(
            "The database Images on db1 lacks table dbo.conversations, table dbo.messages, table dbo.imagequeue_leases, "
            + "table dbo.imagequeue_pauses, table dbo.imagequeue_uploads, table dbo.imagequeue_statistics_samples, table "
                + "dbo.imagequeue_statistics, "
            + "table dbo.data_protection_keys (script 2026-11-29_01_tables.sql); Hangfire's tables (script Hangfire's own). "
            + "Run \"dotnet run --project ImageQueue.Web -- schema apply\", hand the scripts to a DBA (\"schema print\"), or set "
                + "Storage:ApplySchema to true."));
    }

    /// <summary>A schema of an earlier release.</summary>
    [Test]
    public void Prepare_NamesTheColumn_WhenOneIsMissing()
    {
        var (database, _) = Database(missing: part => part.Name == "column dbo.messages.queued_at");

        Assert.That(
            () => database.PrepareAsync(CancellationToken.None),
            Throws.TypeOf<SchemaException>().With.Message.Contains(
                "lacks column dbo.messages.queued_at (script 2026-11-29_01_tables.sql)"));
    }

    /// <summary>Hangfire's tables may be of an earlier release too.</summary>
    [TestCase(5, false)]
    [TestCase(6, true)]
    [TestCase(9, true)]
    public void Prepare_TakesHangfiresSchema_FromVersionSix(int version, bool taken)
    {
        var (database, _) = Database(missing: _ => false, hangfire: version);

        Assert.That(
            () => database.PrepareAsync(CancellationToken.None),
            taken ? Throws.Nothing : Throws.TypeOf<SchemaException>().With.Message.Contains("it has 5"));
        if (taken)
            Assert.That(database.HangfireOptions.UseIgnoreDupKeyOption, Is.EqualTo(version >= 8));
    }

    /// <summary>A database carried over from an older server keeps its level, and knows no OPENJSON.</summary>
    [TestCase(120, false)]
    [TestCase(130, true)]
    public void Prepare_Stops_WhenTheCompatibilityLevelIsTooLow(int level, bool taken)
    {
        var (database, _) = Database(missing: _ => false, compatibility: level);

        Assert.That(
            () => database.PrepareAsync(CancellationToken.None),
            taken ? Throws.Nothing : Throws.TypeOf<SchemaException>().With.Message.EqualTo(
                "The database Images on db1 is at compatibility level 120, and 130 is needed: "
                + "run ALTER DATABASE CURRENT SET COMPATIBILITY_LEVEL = 140 in it, as its owner."));
    }

    /// <summary>
    /// Two processes create the database at once: the second gets an error that it exists or is being created, and goes on.
    /// </summary>
    [TestCase(1801)]
    [TestCase(1807)]
    public async Task Apply_GoesOn_WhenAnotherProcessMakesTheDatabase(int number)
    {
        var (refusals, entries) = (0, 0);
        var (database, sent) = Database(
            missing: _ => false,
            journal: [.. SchemaScripts.All.Select(script => script.Name)],
            error: text => text.Contains("sp_getapplock", StringComparison.Ordinal) && entries++ < 2 ? SqlServerError.Of(4060)
                : text.Contains("CREATE DATABASE", StringComparison.Ordinal) && refusals++ < 2 ? SqlServerError.Of(number)
                : null);

        await database.ApplySchemaAsync(CancellationToken.None);

        Assert.That(
            sent.All.Count(statement => statement.Text.Contains("CREATE DATABASE", StringComparison.Ordinal)),
            Is.EqualTo(4),
            "two refused, one done, and once more since it could not be entered yet");
    }

    /// <summary>One number, one meaning: a wait for the schema's lock does not read like a busy user.</summary>
    [TestCase(51222, "is busy with this user's other requests")]
    [TestCase(51223, "is having its schema changed by another process")]
    [TestCase(1801, "is being created by another process")]
    [TestCase(1807, "is being created by another process")]
    [TestCase(51224, "is busy with others' writes")]
    [TestCase(18470, "refuses the login: it is disabled")]
    [TestCase(40615, "firewall or virtual network rule")]
    [TestCase(40914, "firewall or virtual network rule")]
    [TestCase(1205, "is busy with others' writes")]
    [TestCase(4060, "does not exist or is closed to this login")]
    public void Errors_AreTranslated_ByTheirNumbers(int number, string says) =>
        Assert.That(
            SqlServerErrors.Translate(SqlServerError.Of(number)), Is.TypeOf<StoreUnavailableException>().With.Message.Contains(says));

    /// <summary>The numbers that the product's own statements raise are those that are translated.</summary>
    [Test]
    public void Errors_AreRaised_WithTheNumbersThatAreTranslated()
    {
        var raised = typeof(SqlServerErrors).Assembly.GetTypes()
            .SelectMany(type => type.GetFields(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public))
            .Where(field => field.IsLiteral && field.FieldType == typeof(string))
            .SelectMany(field => Regex.Matches((string)field.GetRawConstantValue()!, @"THROW (\d+), N'([^']*)"))
            .Select(match => (int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), match.Groups[2].Value))
            .Distinct().ToList();

        Assert.That(raised, Is.EquivalentTo(new[]
        {
            (SqlServerErrors.UserLockTimeout, "The user"), (
                SqlServerErrors.SchemaLockTimeout, "Another process has been changing the schema for too long."),
            (SqlServerErrors.LockDeadlock, "Waiting for the lock was a deadlock."),
        }));
    }

    /// <summary>"Run schema check" is no help where the check finds all there.</summary>
    [TestCase("Invalid object name 'dbo.messages'.", "run \"schema check\"")]
    [TestCase("Invalid object name 'OPENJSON'.", "COMPATIBILITY_LEVEL")]
    public void Errors_SayWhatToDo_WhenAnObjectIsNotThere(string message, string says) =>
        Assert.That(
            SqlServerErrors.Translate(SqlServerError.Of(208, message)), Is.TypeOf<StoreUnavailableException>().With.Message.Contains(says));

    /// <summary>An index is worth a warning, not a stop.</summary>
    [Test]
    public async Task Prepare_Warns_WhenAnIndexIsMissing()
    {
        var log = new LogRecorder();
        var (database, _) = Database(missing: part => part.Name == "index dbo.messages.IX_messages_status", logger: log.CreateLogger("x"));

        await database.PrepareAsync(CancellationToken.None);

        Assert.That(
            log.Of(Microsoft.Extensions.Logging.LogLevel.Warning),
            Has.One.Contains("lacks index dbo.messages.IX_messages_status; run 2026-11-29_02_indexes.sql"));
    }

    /// <summary>A second start has nothing to run.</summary>
    [Test]
    public async Task Apply_RunsNothing_WhenTheJournalHasAll()
    {
        var (database, sent) = Database(missing: _ => false, journal: [.. SchemaScripts.All.Select(script => script.Name)]);

        await database.ApplySchemaAsync(CancellationToken.None);

        var batches = SchemaScripts.All.Append(SchemaScripts.Hangfire)
            .SelectMany(script => script.Batches)
            .ToHashSet(StringComparer.Ordinal);
        Assert.That(sent.All.Where(statement => batches.Contains(statement.Text)), Is.Empty);
    }

    /// <summary>The journal is believed only while its work is there.</summary>
    [Test]
    public async Task Apply_RunsAllInOrder_WhenSomethingIsMissingInSpiteOfTheJournal()
    {
        var (database, sent) = Database(
            missing: part => part.Name == "table dbo.messages",
            hangfire: null,
            journal: [.. SchemaScripts.All.Select(script => script.Name)]);

        await database.ApplySchemaAsync(CancellationToken.None);

        var batches = SchemaScripts.All.Append(SchemaScripts.Hangfire).SelectMany(script => script.Batches).ToList();
        Assert.That(
            sent.All.Select(statement => statement.Text).Where(batches.ToHashSet(StringComparer.Ordinal).Contains), Is.EqualTo(batches));
    }

    /// <summary>No credentials where people read.</summary>
    [Test]
    public void Location_NamesDatabaseAndServer_WithoutCredentials() =>
        Assert.That(Database(missing: _ => false).Database.Location, Is.EqualTo("Images on db1"));

    /// <summary>A wrong setting is said in a sentence that names the key and repeats no password.</summary>
    [TestCase(null, "is missing")]
    [TestCase(" ", "is missing")]
    [TestCase("Data Source=data/imagequeue.db", "names no database")]
    [TestCase("Database=x;Password=Gizli1!", "names no server")]
    [TestCase("Srver=db1;Database=x;Password=Gizli1!", "cannot be read")]
    [TestCase("Server=db1;Database=x;Encrypt=perhaps;Password=Gizli1!", "cannot be read")]
    [TestCase("Gizli1!", "cannot be read")]
    public void Constructor_Throws_WhenTheConnectionStringIsWrong(string? connectionString, string says) =>
        Assert.That(
            () => new SqlServerDatabase(connectionString, applySchema: true, NullLogger.Instance),
            Throws.TypeOf<StorageSettingsException>().With.Message.StartsWith("ConnectionStrings:ImageQueue").And.Message.Contains(says)
                .And.Message.Not.Contains("Gizli1!"));

    /// <summary>The whole script for a DBA, without a server and without a connection string.</summary>
    [Test]
    public async Task Command_PrintsAllScripts_WithoutASetting()
    {
        var (exitCode, output, errors) = await RunAsync(["print"], null);

        Assert.That((exitCode, errors), Is.EqualTo((0, "")));
        Assert.That(TSqlSyntax.Errors(output), Is.Empty);
        foreach (var script in SchemaScripts.All)
            Assert.That(output, Does.Contain($"-- {script.Name}\n{script.Text}"));
        Assert.That(output, Does.Contain("Installing Hangfire SQL objects").And.EndWith("\nGO\n").And.Not.Contain("$("));
    }

    /// <summary>How it is used.</summary>
    [TestCase]
    [TestCase("drop")]
    [TestCase("print", "more")]
    public async Task Command_SaysHowItIsUsed_WhenTheVerbIsUnknown(params string[] verbs)
    {
        var (exitCode, output, errors) = await RunAsync(verbs, ConnectionString);

        Assert.That((exitCode, output), Is.EqualTo((2, "")));
        Assert.That(errors, Does.StartWith("Usage:"));
    }

    /// <summary>A sentence and an exit code, for scripts and people.</summary>
    [TestCase("check", null, "ConnectionStrings:ImageQueue is missing")]
    [TestCase("apply", null, "ConnectionStrings:ImageQueue is missing")]
    [TestCase(
        "check",
        "Server=127.0.0.1,1;Database=x;Connect Timeout=1;User ID=sa;Password=Gizli1!;Encrypt=False",
        "The message database cannot be reached: check that SQL Server runs")]
    [TestCase(
        "apply",
        "Server=127.0.0.1,1;Database=x;Connect Timeout=1;User ID=sa;Password=Gizli1!;Encrypt=False",
        "The message database cannot be reached: check that SQL Server runs")]
    public async Task Command_SaysWhy_WhenThereIsNoServer(string verb, string? connectionString, string says)
    {
        var (exitCode, output, errors) = await RunAsync([verb], connectionString);

        Assert.That((exitCode, output), Is.EqualTo((1, "")));
        Assert.That(errors, Does.StartWith(says).And.Not.Contain("Gizli1!"));
    }

    private static async Task<(int ExitCode, string Output, string Errors)> RunAsync(string[] verbs, string? connectionString)
    {
        var configuration = new ConfigurationBuilder()
            .AddInMemoryCollection([KeyValuePair.Create("ConnectionStrings:ImageQueue", connectionString)])
            .Build();
        using var output = new StringWriter();
        using var errors = new StringWriter();
        return (await SchemaCommand.RunAsync(verbs, configuration, output, errors), output.ToString(), errors.ToString());
    }

    /// <summary>A database that answers the check's questions as given, and ignores writes.</summary>
    private static (SqlServerDatabase Database, SentStatements Sent) Database(
        Func<SchemaPart, bool> missing, int? hangfire = 9, string[]? journal = null, Microsoft.Extensions.Logging.ILogger? logger = null,
        int compatibility = 130, Func<string, Exception?>? error = null)
    {
        var parts = SchemaScripts.All.SelectMany(script => script.Parts).ToList();
        var sent = new SentStatements
        {
            Error = error ?? (_ => null),
            Scalar = text =>
                text.Contains("compatibility_level", StringComparison.Ordinal)
                    ? compatibility
                    : text.Contains("MAX([Version])", StringComparison.Ordinal)
                        ? hangfire
                        : text.Contains("OBJECT_ID(N'HangFire.Schema'", StringComparison.Ordinal) ? (hangfire is null ? 0 : 1) : 1,
            Table = text => text.Contains("AS part", StringComparison.Ordinal)
                ? Rows(Enumerable.Range(0, parts.Count).Where(i => missing(parts[i])).Cast<object>())
                : Rows(journal ?? []),
        };
        return (
            new SqlServerDatabase(
                ConnectionString,
                applySchema: false,
                logger ?? NullLogger.Instance,
                _ => new SqlServerConnections(() => new RecordingConnection(sent))),
            sent);
    }

    private static DataTable Rows(IEnumerable<object> values)
    {
        var rows = values.ToList();
        var table = new DataTable();
        table.Columns.Add("value", rows.FirstOrDefault()?.GetType() ?? typeof(string));
        foreach (var value in rows)
            table.Rows.Add(value);
        return table;
    }

    private static IEnumerable<string> Parts(CreateTableStatement table) =>
        table.Definition.ColumnDefinitions.Select(
            column =>
                $"column {Name(table.SchemaObjectName)}.{column.ColumnIdentifier.Value}").Prepend($"table {Name(table.SchemaObjectName)}");

    private static IEnumerable<string> Parts(AlterTableAddTableElementStatement addition) =>
        addition.Definition.ColumnDefinitions.Select(column => $"column {Name(addition.SchemaObjectName)}.{column.ColumnIdentifier.Value}")
            .Concat(addition.Definition.TableConstraints.Select(constraint => $"constraint dbo.{constraint.ConstraintIdentifier.Value}"));

    private static string Part(CreateIndexStatement index) => $"index {Name(index.OnName)}.{index.Name.Value}";

    private static string Name(SchemaObjectName name) => $"{name.SchemaIdentifier.Value}.{name.BaseIdentifier.Value}";
}
