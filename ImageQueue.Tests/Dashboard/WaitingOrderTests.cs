using System.Text.RegularExpressions;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The dashboard says the order in force, lists waiting requests in it, and each user's next position.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed partial class WaitingOrderTests
{
    [TestCase("Fifo", "first come, first served", "0 1 2 3 4 5", "ayşe 1, mehmet 4, zeynep 6")]
    [TestCase("FairShare", "fair share: the users in turn", "0 3 5 1 4 2", "ayşe 1, mehmet 2, zeynep 3")]
    public async Task Dashboard_FollowsTheOrder(string setting, string words, string expected, string next)
    {
        await using var app = await TestApp.StartAsync(new() { ["Queue:Order"] = setting });
        (await app.Http.PostAsync("api/queue/pause", null)).EnsureSuccessStatusCode();
        var ids = new List<long>();
        foreach (var user in new[] { "ayşe", "ayşe", "ayşe", "mehmet", "mehmet", "zeynep" })
            ids.Add((long)(await app.SubmitAsync("bir gül", user, user))["id"]!);

        var page = await app.Http.GetStringAsync("hangfire/images");
        Assert.That(page, Does.Contain($"6 waiting, {words}"));
        Assert.That(Ids(page), Is.EqualTo(expected.Split(' ').Select(i => ids[int.Parse(i, CultureInfo.InvariantCulture)])));
        var home = await app.Http.GetStringAsync("hangfire/live/overview");
        Assert.That((home.Contains(words, StringComparison.Ordinal), NextOf(home)), Is.EqualTo((true, next)));

        // A user's next request need not be the oldest.
        (await app.Http.PostAsync($"api/messages/{ids[0]}/cancel", null)).EnsureSuccessStatusCode();
        using var moved = await AuthApp.PostDashboardAsync(app.Http, "hangfire/commands/images/front", $"{ids[4]}");
        Assert.That((int)moved.StatusCode, Is.EqualTo(200));
        Assert.That(Ids(await app.Http.GetStringAsync("hangfire/images"))[0], Is.EqualTo(ids[4]));
        Assert.That(NextOf(await app.Http.GetStringAsync("hangfire/live/overview")), Does.Contain("mehmet 1"));
    }

    private static long[] Ids(string page) =>
        [.. Picked().Matches(page).Select(match => long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];

    private static string NextOf(string home) => string.Join(
        ", ",
        NextPosition().Matches(home).Select(match => $"{System.Net.WebUtility.HtmlDecode(match.Groups[1].Value)} {match.Groups[2].Value}"));

    [GeneratedRegex("data-iq-pick value=\"([0-9]+)\"")]
    private static partial Regex Picked();

    [GeneratedRegex(">([^<]*)</a></th>\\s*<td class=\"iq-number\">([0-9]+)</td>")]
    private static partial Regex NextPosition();
}
