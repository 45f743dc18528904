using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The finished requests page by page, and the backends' figures, from a filled database.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed partial class FinishedListTests
{
    private const int Kept = 120;

    private readonly TemporaryFolder _folder = new();
    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        await DashboardRows.FillAsync(_folder, waiting: 0, Kept);
        await using (var connection = new SqliteConnection($"Data Source={Path.Combine(_folder.Path, "imagequeue.db")}"))
        {
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            // Image 7 is the last to end, and gpu2 is slow.
            command.CommandText =
                """
                UPDATE messages SET finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = 7;
                UPDATE statistics_samples SET seconds = seconds * 5 WHERE backend = 'gpu2';
                """;
            await command.ExecuteNonQueryAsync();
        }

        _app = await TestApp.StartAsync(
            new()
            {
                ["Forge:Backends:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}",
                ["Forge:Backends:0:Name"] = "gpu1",
                ["Forge:Backends:1:Url"] = $"http://127.0.0.1:{Ports.FindFree()}",
                ["Forge:Backends:1:Name"] = "gpu2",
                ["Forge:Simulator:Enabled"] = "false",
            },
            _folder);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
        _folder.Dispose();
    }

    /// <summary>Each request once, the newest end first; Newer leads back to the same pages.</summary>
    [TestCase("images?show=ended")]
    [TestCase("images?show=complete&user=user")]
    public async Task FinishedImages_AreSortedByTheirEnd_AndPagedInBothDirections(string path)
    {
        var pages = new List<long[]>();
        string? next = path;
        var last = path;
        while (next is not null)
        {
            var page = await _app.Http.GetStringAsync($"hangfire/{last = next}");
            pages.Add(Ids(page));
            next = LinkOf(page, "Older");
        }

        long[] all = [.. pages.SelectMany(ids => ids)];
        Assert.That(pages, Has.Count.EqualTo(3));
        Assert.That(all[0], Is.EqualTo(7));
        Assert.That(all[1..], Is.Ordered.Descending.And.Unique.And.None.EqualTo(7));

        for (var at = pages.Count - 1; at > 0; at--)
        {
            var newer = LinkOf(await _app.Http.GetStringAsync($"hangfire/{last}"), "Newer");
            var page = await _app.Http.GetStringAsync($"hangfire/{last = newer}");
            Assert.That((Ids(page), LinkOf(page, "Newer") is null), Is.EqualTo((pages[at - 1], at == 1)));
        }
    }

    [TestCase("older=x")]
    [TestCase("newer=99999999999999999-1")]
    public async Task FinishedImages_ShowTheFirstPage_WhenThePlaceIsUnreadable(string query) =>
        Assert.That(Ids(await _app.Http.GetStringAsync($"hangfire/images?show=ended&{query}"))[0], Is.EqualTo(7));

    [Test]
    public async Task Backends_ShowTheirDay_AndMarkTheSlowOne()
    {
        var cards = (await _app.Http.GetStringAsync("hangfire/backends")).Split("<section class=\"iq-card");

        Assert.That(cards[1], Does.Contain("id=\"backend-gpu1\"").And.Contain("<dd>7 s</dd>").And.Not.Contain("iq-slow"));
        Assert.That(cards[2], Does.Contain("id=\"backend-gpu2\"").And.Contain("Slow: 5.0 times the median").And.Contain("<dd>35 s</dd>"));
    }

    private static long[] Ids(string page) =>
        [.. Picked().Matches(page).Select(match => long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];

    private static string? LinkOf(string page, string text) =>
        Button().Matches(page).FirstOrDefault(match => match.Groups[2].Value == text) is { } link
            ? link.Groups[1].Value.Replace("&amp;", "&", StringComparison.Ordinal)
            : null;

    [GeneratedRegex("data-iq-pick value=\"([0-9]+)\"")]
    private static partial Regex Picked();

    [GeneratedRegex("href=\"/hangfire/(images[^\"]*)\">([^<]*)</a>")]
    private static partial Regex Button();
}
