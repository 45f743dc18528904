using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Simulator;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>The back-up and restore of docs/operations.md, of an app that runs meanwhile.</summary>
[NonParallelizable] // Its processes would slow every other test down.
[Category(Categories.Process)]
internal sealed class BackupJourneyTests
{
    private static readonly string Key = ApiKeys.Create(Roles.Client);

    private static readonly Dictionary<string, string> Settings = new()
    {
        ["ASPNETCORE_ENVIRONMENT"] = "Production",
        ["Auth__ApiKeys__0__Name"] = "chat",
        ["Auth__ApiKeys__0__Role"] = Roles.Client,
        ["Auth__ApiKeys__0__KeyHash"] = Convert.ToHexString(ApiKeys.Hash(Key)),
    };

    /// <summary>What was finished is as it was, what was being generated or waited is generated, and tokens are good.</summary>
    [Test]
    public async Task Restore_HasEverything_OfABackupMadeWhileTheAppRan()
    {
        await using var forge = await SimulatorServer.StartAsync();
        using var place = new TemporaryFolder();
        using var backup = new TemporaryFolder();
        using var other = new TemporaryFolder();
        JsonObject finished;
        byte[] image;
        string token;
        long[] unfinished;
        await using (var app = await StartAsync(place.Path, forge.Address))
        {
            finished = await app.WaitForAsync((long)(await app.SubmitAsync("bir gül 🌹"))["id"]!, MessageStatus.Complete);
            image = await app.Http.GetByteArrayAsync((string)finished["extra_metadata"]!["image_url"]!);
            using var answer = await app.Http.PostAsJsonAsync("api/conversations/demo/tokens", new { username = "ayşe" });
            token = (string)JsonNode.Parse(await answer.Content.ReadAsStringAsync())!["token"]!;
            var generating = (long)(await app.SubmitAsync($"a [fault:{SimulatorFaults.Stalled}*1]"))["id"]!;
            await app.WaitForAsync(generating, MessageStatus.Processing);
            unfinished = [generating, (long)(await app.SubmitAsync("b"))["id"]!, (long)(await app.SubmitAsync("c"))["id"]!];

            await BackUpAsync(place.Path, backup.Path);
            await app.SubmitAsync("after the back-up");
            await app.KillAsync();
        }

        Copy(backup.Path, other.Path);
        await using var restored = await StartAsync(other.Path, forge.Address);

        foreach (var id in unfinished)
            await restored.WaitForAsync(id, MessageStatus.Complete);
        var messages = await restored.ListAsync();
        Assert.That(messages.Select(message => (long)message["id"]!), Is.EqualTo(unfinished.Prepend((long)finished["id"]!)));
        Assert.That(messages[0].ToJsonString(), Is.EqualTo(finished.ToJsonString()));
        foreach (var message in messages)
        {
            Assert.That(
                await restored.Http.GetByteArrayAsync((string)message["extra_metadata"]!["image_url"]!),
                message == messages[0] ? Is.EqualTo(image) : Is.Not.Empty);
        }

        using var watcher = new HttpClient { BaseAddress = restored.Http.BaseAddress };
        watcher.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        Assert.That((await watcher.GetAsync("api/conversations/demo/messages")).StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    private static async Task<AppProcess> StartAsync(string folder, Uri forge)
    {
        var app = await AppProcess.StartAsync(folder, forge, Settings);
        app.Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Key);
        return app;
    }

    /// <summary>As docs/operations.md says it; the statement by the same engine as the command's, which a machine may not have.</summary>
    private static async Task BackUpAsync(string place, string backup)
    {
        Assert.That(await File.ReadAllTextAsync(Repository.File("docs/operations.md")), Does.Contain("""
            sqlite3 data/imagequeue.db "VACUUM INTO '$backup/imagequeue.db'"
            cp -r data/images data/keys "$backup/"
            """.ReplaceLineEndings("\n")));
        await using (var database = new SqliteConnection($"Data Source={Path.Combine(place, "imagequeue.db")};Mode=ReadOnly;Pooling=False"))
        {
            await database.OpenAsync();
            await using var statement = database.CreateCommand();
            statement.CommandText = $"VACUUM INTO '{Path.Combine(backup, "imagequeue.db")}'";
            await statement.ExecuteNonQueryAsync();
        }

        Copy(Path.Combine(place, "images"), Path.Combine(backup, "images"));
        Copy(Path.Combine(place, "keys"), Path.Combine(backup, "keys"));
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        foreach (var folder in Directory.GetDirectories(from))
            Copy(folder, Path.Combine(to, Path.GetFileName(folder)));
    }
}
