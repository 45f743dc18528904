using System.Net;
using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Data.SqlClient;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>Several apps on one SQL Server database, and a server that goes away; where a server is given.</summary>
[SqlServerFixture]
[Category(Categories.Process)]
public sealed class SharedDatabaseJourneyTests
{
    private SqlServerStoreDatabase _database = null!;
    private TemporaryFolder _folder = null!;

    /// <summary>A database of its own, and one folder for images, as machines share one.</summary>
    [SetUp]
    public async Task CreateAsync()
    {
        _database = await SqlServerStoreDatabase.CreateAsync();
        _folder = new TemporaryFolder();
    }

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DropAsync()
    {
        _folder?.Dispose();
        if (_database is not null)
            await _database.DisposeAsync();
    }

    /// <summary>One queue: positions agree wherever they are asked, each image is generated once, and an app may leave.</summary>
    [Test]
    public async Task TwoApps_ShareOneQueue_AndOneMayLeave()
    {
        await using var first = await StartAsync(_database.ConnectionString, secondsPerImage: "1");
        var second = await StartAsync(_database.ConnectionString, secondsPerImage: "1");
        var ids = new List<long>();
        try
        {
            for (var i = 0; i < 12; i++)
                ids.Add((long)(await (i % 2 == 0 ? first : second).SubmitAsync($"image {i}"))["id"]!);

            // The queue moves meanwhile: two looks agree when nothing moved between them.
            for (var tries = 0; ; tries++)
            {
                var (a, b, c) = (await PositionsAsync(first, ids), await PositionsAsync(second, ids), await PositionsAsync(first, ids));
                if (a.SequenceEqual(c) && a.SequenceEqual(b))
                    break;
                Assert.That(tries, Is.LessThan(20), $"{string.Join(' ', a)} beside {string.Join(' ', b)}");
                await Task.Delay(300);
            }
        }
        finally
        {
            await second.DisposeAsync();
        }

        foreach (var id in ids)
            await first.WaitForAsync(id, "complete");
        await using var connection = new SqlConnection(_database.ConnectionString);
        Assert.That(
            await connection.QueryAsync<long>(
                "SELECT id FROM dbo.messages WHERE attempt > 2"), Is.Empty, "only what the leaving app had in hand is begun again");
        Assert.That(
            await connection.ExecuteScalarAsync<int>("SELECT COUNT(*) FROM dbo.messages WHERE attempt > 1"), Is.LessThanOrEqualTo(1));
    }

    /// <summary>
    /// One of two apps is killed while it generates: the other finishes everything, and nothing is generated twice to the end.
    /// </summary>
    [Test]
    public async Task TwoApps_LoseNothing_WhenOneIsKilled()
    {
        // One Forge each, outside both, so that what was asked of it can be counted.
        await using var forgeOfFirst = await SimulatorServer.StartAsync(secondsPerImage: 40);
        await using var forgeOfSecond = await SimulatorServer.StartAsync(secondsPerImage: 40);
        var settings = new Dictionary<string, string>
        {
            ["Storage__Provider"] = "SqlServer",
            ["Storage__ApplySchema"] = "false",
            ["ConnectionStrings__ImageQueue"] = _database.ConnectionString,
        };
        await using var first = await AppProcess.StartAsync(_folder.Path, forgeOfFirst.Address, settings);
        await using var second = await AppProcess.StartAsync(_folder.Path, forgeOfSecond.Address, settings);
        for (var i = 0; i < 10; i++)
            Assert.That(await (i % 2 == 0 ? first : second).TrySubmitAsync($"image {i}"), Is.Not.Null);
        await using var connection = new SqlConnection(_database.ConnectionString);
        await Until.TrueAsync(
            async () => await connection.ExecuteScalarAsync<int>("SELECT COUNT(*) FROM dbo.messages WHERE status = N'processing'") == 2,
            "both generate",
            TimeSpan.FromSeconds(60));

        await second.KillAsync();

        // The sweep comes each minute and takes a silent worker's row back.
        await Until.TrueAsync(
            async () => await connection.ExecuteScalarAsync<int>("SELECT COUNT(*) FROM dbo.messages WHERE status = N'complete'") == 10,
            "all are complete",
            TimeSpan.FromMinutes(5));
        var asked = forgeOfFirst.Simulator.Stats.Snapshot().Received.Concat(forgeOfSecond.Simulator.Stats.Snapshot().Received).ToList();
        Assert.That(asked.Select(request => request.Task), Is.Unique);
        Assert.That(
            asked.GroupBy(request => request.Prompt).Count(group => group.Count() > 1),
            Is.LessThanOrEqualTo(1),
            "only what the killed app had in hand is begun again");
    }

    /// <summary>The database goes away while images are generated: requests get 503, nothing is lost, work goes on.</summary>
    [Test]
    public async Task App_GoesOn_WhenTheServerWasAwayForAWhile()
    {
        var (host, port) = Endpoint(new SqlConnectionStringBuilder(_database.ConnectionString).DataSource);
        await using var cable = new TcpProxy(host, port);
        var throughCable =
            new SqlConnectionStringBuilder(_database.ConnectionString)
            {
                DataSource = $"127.0.0.1,{cable.Port}",
                TrustServerCertificate = true,
                ConnectTimeout = 2,
            };
        await using var app = await StartAsync(throughCable.ConnectionString, secondsPerImage: "2");
        var ids = new List<long>();
        for (var i = 0; i < 4; i++)
            ids.Add((long)(await app.SubmitAsync($"image {i}"))["id"]!);
        await app.WaitForAsync(ids[0], "processing", "complete");

        cable.Cut();
        await Task.Delay(TimeSpan.FromSeconds(10));
        Assert.That((await app.Http.GetAsync("health/live")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await app.Http.GetAsync("health/ready")).StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That((await app.Http.GetAsync($"api/messages/{ids[0]}")).StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        cable.Mend();

        var deadline = TimeProvider.System.GetTimestamp();
        while ((await app.Http.GetAsync("health/ready")).StatusCode != HttpStatusCode.OK)
        {
            Assert.That(TimeProvider.System.GetElapsedTime(deadline), Is.LessThan(TimeSpan.FromSeconds(30)), app.Log.ToString());
            await Task.Delay(200);
        }

        // Hangfire waits longer after each failure, and the sweep comes each minute.
        deadline = TimeProvider.System.GetTimestamp();
        foreach (var id in ids)
        {
            while ((string?)(await app.GetMessageAsync(id))["extra_metadata"]!["status"] != "complete")
            {
                Assert.That(TimeProvider.System.GetElapsedTime(deadline), Is.LessThan(TimeSpan.FromMinutes(4)), app.Log.ToString());
                await Task.Delay(500);
            }
        }
    }

    private Task<TestApp> StartAsync(string connectionString, string secondsPerImage) => TestApp.StartAsync(
        new()
        {
            ["Storage:Provider"] = "SqlServer",
            ["Storage:ApplySchema"] = "false",
            ["ConnectionStrings:ImageQueue"] = connectionString,
            ["Forge:Simulator:SecondsPerImage"] = secondsPerImage,
        },
        _folder);

    private static async Task<List<int>> PositionsAsync(TestApp app, IEnumerable<long> ids)
    {
        var positions = new List<int>();
        foreach (var id in ids)
        {
            var message = await app.GetMessageAsync(id);
            positions.Add(message["queue"] is JsonObject queue ? (int)queue["position"]! : 0);
        }

        return positions;
    }

    private static (string Host, int Port) Endpoint(string dataSource)
    {
        var parts = dataSource.Replace("tcp:", "", StringComparison.OrdinalIgnoreCase).Split(',');
        if (parts[0].Contains('\\', StringComparison.Ordinal) || parts[0].StartsWith('('))
        {
            Assert.Ignore(
                $"Give {SqlServerStoreDatabase.Variable} a server by host and port, such as \"Server=localhost,1433\": a named instance "
                    + $"cannot be cut off.");
        }

        return (
            parts[0] is "." ? "localhost" : parts[0],
            parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 1433);
    }
}
