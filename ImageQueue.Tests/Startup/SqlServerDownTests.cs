using System.Net;
using System.Net.Http.Json;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Startup;
using Microsoft.Data.SqlClient;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>The real app on SQL Server's settings, with no server behind them.</summary>
[TestFixture]
[Category(Categories.App)]
public sealed class SqlServerDownTests
{
    /// <summary>No process listens on port 1.</summary>
    private const string Nowhere =
        "Server=127.0.0.1,1;Database=ImageQueue;User ID=imagequeue;Password=Gizli1!;Encrypt=False;Connect Timeout=1";

    /// <summary>The app serves, says that it is not ready, refuses what it cannot do with 503, and can be stopped.</summary>
    [Test]
    public async Task App_StaysUpAndSaysThatItIsNotReady_WhenTheServerIsDown()
    {
        await using (
            var app = await TestApp.StartAsync(new() { ["Storage:Provider"] = "SqlServer", ["ConnectionStrings:ImageQueue"] = Nowhere }))
        {
            Assert.That((await app.Http.GetAsync("health/live")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
            var ready = await app.Http.GetAsync("health/ready");
            Assert.That(ready.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            var parts = (await TestApp.ReadAsync(ready))["parts"]!;
            Assert.That(
                ((string?)parts["database"]!["status"], (string?)parts["schema"]!["status"], (string?)parts["job_servers"]!["status"]),
                Is.EqualTo(("unhealthy", "unhealthy", "degraded")));
            Assert.That((string?)parts["database"]!["reason"], Does.Contain("be reached").And.Not.Contain("Gizli1!"));
            foreach (var response in new[]
            {
                await app.Http.GetAsync("api/messages/1"),
                await app.Http.PostAsJsonAsync("api/conversations/c/images", new { username = "ayşe", prompt = "gül" }),
            })
            {
                Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
                Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("application/problem+json"));
                Assert.That(response.Headers.RetryAfter, Is.Not.Null);
                Assert.That(await response.Content.ReadAsStringAsync(), Does.Not.Contain("Gizli1!"));
            }

            // What the requests above were refused for has lines of its own.
            var warnings = app.Log.Of(LogLevel.Warning)
                .Where(line => line.Contains(nameof(DatabaseStart), StringComparison.Ordinal))
                .ToList();
            // Each reason is logged once; a caller that waits for another one's connection attempt has a reason of its own.
            Assert.That(warnings, Has.Count.InRange(1, 2), string.Join('\n', warnings));
            Assert.That(warnings, Is.All.Contain("be reached").And.All.Contain("ImageQueue on 127.0.0.1,1"));
            Assert.That(app.Log.ToString(), Does.Not.Contain("Gizli1!"));
        }
    }

    /// <summary>Wrong settings stop the start with a sentence.</summary>
    [TestCase("SqlServer", "", "ConnectionStrings:ImageQueue is missing")]
    [TestCase("SqlServer", "Server=db1", "ConnectionStrings:ImageQueue names no database")]
    [TestCase("Oracle", "", "Storage:Provider must be Sqlite or SqlServer, not Oracle.")]
    public void App_DoesNotStart_WhenSettingsAreWrong(string provider, string connectionString, string says) =>
        Assert.That(
            () => TestApp.StartAsync(new() { ["Storage:Provider"] = provider, ["ConnectionStrings:ImageQueue"] = connectionString }),
            Throws.TypeOf<StorageSettingsException>().With.Message.StartsWith(says));

    /// <summary>Each verb of the store says the same when there is no server, and a caller who gives up is not made to wait.</summary>
    [Test]
    public void Store_Throws_WhenTheServerIsDown()
    {
        var store = new SqlServerMessageStore(
            new SqlServerDatabase(Nowhere, applySchema: false, NullLogger.Instance).Connections, TimeProvider.System, new AsyncSignal());

        Assert.That(
            () => store.FindAsync(1, default), Throws.TypeOf<StoreUnavailableException>().With.InnerException.TypeOf<SqlException>());
        Assert.That(() => store.FindAsync(1, new CancellationToken(true)), Throws.InstanceOf<OperationCanceledException>());
    }
}
