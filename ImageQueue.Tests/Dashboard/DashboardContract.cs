using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>An app with simulated backends, gpu1 and so on, and an operator's session; all set before any test runs.</summary>
internal abstract class DashboardContract(int backends, bool isOnSqlServer)
{
    private SqlServerStoreDatabase? _database;

    private protected SimulatorServer[] Backends { get; } = new SimulatorServer[backends];

    private protected AuthApp App { get; private set; } = null!;

    private protected HttpClient Operator { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        var settings = new Dictionary<string, string?>
        {
            ["Forge:Simulator:Enabled"] = "false",
            ["Queue:MaxPendingPerUser"] = "1000",
            ["Limits:RequestsPerAddress"] = "10000",
            ["Limits:RequestsPerKey"] = "10000",
        };
        for (var i = 0; i < backends; i++)
        {
            Backends[i] = await SimulatorServer.StartAsync();
            settings[$"Forge:Backends:{i}:Url"] = Backends[i].Address.AbsoluteUri;
            settings[$"Forge:Backends:{i}:Name"] = $"gpu{i + 1}";
        }

        if (isOnSqlServer)
        {
            _database = await SqlServerStoreDatabase.CreateAsync();
            settings["Storage:Provider"] = "SqlServer";
            settings["Storage:ApplySchema"] = "true";
            settings["ConnectionStrings:ImageQueue"] = _database.ConnectionString;
        }

        App = await AuthApp.StartAsync(settings);
        Operator = await App.SignInAsync(AuthApp.OperatorKey);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (App is not null)
            await App.DisposeAsync();
        foreach (var backend in Backends)
        {
            if (backend is not null)
                await backend.DisposeAsync();
        }

        if (_database is not null)
            await _database.DisposeAsync();
    }
}
