using System.Text.Json.Nodes;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>One user's twenty requests never delay another user's first.</summary>
[Category(Categories.App)]
internal sealed class FairShareJourneyTests
{
    private static readonly object Small = new { width = 64, height = 64, steps = 4 };

    [Test]
    public async Task Users_AreServedInTurn_OverThreeBackends()
    {
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 400);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 400);
        await using var three = await SimulatorServer.StartAsync(millisecondsPerImage: 400);
        var settings = SimulatorServer.Settings(one, two, three);
        settings["Queue:Order"] = "FairShare";
        await using var app = await TestApp.StartAsync(settings);
        var ids = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        for (var i = 1; i <= 20; i++)
            ids[$"A{i}"] = await SubmitAsync(app, "A", i);
        await Until.TrueAsync(
            () => one.Stats.Received.Count > 0 && two.Stats.Received.Count > 0 && three.Stats.Received.Count > 0, "A uses all backends");

        var before = Begun().Count;
        foreach (var (user, number) in new[] { ("B", 1), ("B", 2), ("C", 1), ("C", 2) })
            ids[$"{user}{number}"] = await SubmitAsync(app, user, number);

        Assert.That((int)ids["B1"]["queue"]!["position"]!, Is.LessThanOrEqualTo(2), "known from the submit on");
        Assert.That((int)ids["C1"]["queue"]!["position"]!, Is.LessThanOrEqualTo(3));
        Assert.That((string?)(await QueueAsync(app))["order"], Is.EqualTo("fair_share"));
        foreach (var message in ids.Values)
            await app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);

        var begun = Begun();
        TestContext.Out.WriteLine(string.Join(' ', begun));
        Assert.That(begun, Is.EquivalentTo(ids.Keys));
        var jobs = begun.Skip(before).ToList();
        // While they were submitted, the three backends may each have begun another of A's.
        Assert.That(jobs.IndexOf("B1"), Is.LessThanOrEqualTo(3), "among the next four");
        Assert.That(jobs.IndexOf("C1"), Is.LessThanOrEqualTo(6));
        // Requests claimed in order reach three backends within moments of each other.
        var ofA = begun.Where(name => name[0] == 'A').ToList();
        Assert.That(
            Enumerable.Range(1, 20).Select(i => Math.Abs(ofA.IndexOf($"A{i}") - (i - 1))),
            Is.All.LessThanOrEqualTo(2),
            "a user's own requests are in order");
        Assert.That(jobs.IndexOf("C2"), Is.LessThan(14), "the twenty do not delay the second ones either");

        List<string> Begun() =>
        [
            .. new[] { one, two, three }.SelectMany(server => server.Stats.Received)
                .Where(request => request.StartedNumber is not null
                    && (request.Prompt[0] is 'A' or 'B' or 'C')
                    && request.Prompt.Length <= 3)
                .OrderBy(request => request.StartedNumber).Select(request => request.Prompt),
        ];
    }

    private static Task<JsonObject> SubmitAsync(TestApp app, string user, int number) =>
        app.SubmitAsync($"{user}{number}", conversation: $"of-{user}", username: user, more: Small);

    private static async Task<JsonObject> QueueAsync(TestApp app) =>
        await TestApp.ReadAsync(await app.Http.GetAsync(new Uri("api/queue", UriKind.Relative)));
}
