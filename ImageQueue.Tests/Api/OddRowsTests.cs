using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Dapper;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>One row that a DBA's hand has written makes no list and no stream unreadable.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class OddRowsTests
{
    [TestCase("[]", "{}")]
    [TestCase("""{"a":"\ud800","b":1}""", """{"b":1}""")]
    [TestCase("""{"a":1,"a":2}""", """{"a":1}""")]
    [TestCase("""{"deep":DEEP,"b":1}""", """{"b":1}""")]
    public async Task List_ShowsWhatCanBeRead_AndAllOthers(string document, string shown)
    {
        using var folder = new TemporaryFolder();
        await using var app = await TestApp.StartAsync(folder: folder);
        var store = app.Services.GetRequiredService<IMessageStore>();
        for (var i = 0; i < 3; i++)
            await store.AddAsync(new NewMessage("odd", "ayşe", MessageRole.User, $"{i}", null), CancellationToken.None);
        document = document.Replace(
            "DEEP", string.Concat(Enumerable.Repeat("[", 70)) + string.Concat(Enumerable.Repeat("]", 70)), StringComparison.Ordinal);
        await using (var connection = new SqliteConnection($"Data Source={Path.Combine(folder.Path, "imagequeue.db")};Pooling=False"))
            await connection.ExecuteAsync("UPDATE messages SET extra_metadata = @document WHERE id = 2", new { document });

        var page = await app.Http.GetFromJsonAsync<JsonObject>("api/conversations/odd/messages");
        var one = await app.Http.GetFromJsonAsync<JsonObject>("api/messages/2");

        Assert.That(page!["messages"]!.AsArray().Select(message => (string?)message!["content"]), Is.EqualTo(new[] { "0", "1", "2" }));
        Assert.That(page["messages"]![1]!["extra_metadata"]!.ToJsonString(), Is.EqualTo(shown));
        Assert.That(one!["extra_metadata"]!.ToJsonString(), Is.EqualTo(shown));
    }
}
