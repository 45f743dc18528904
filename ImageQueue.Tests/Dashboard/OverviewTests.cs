using System.Net;
using ImageQueue.Core.Statistics;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Dashboard;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The home page's charts and tiles.</summary>
[Category(Categories.App)]
internal sealed class OverviewTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 26, 14, 25, 0, TimeSpan.Zero);

    /// <summary>Buckets are aligned to the UTC day; the last one is still running.</summary>
    [Test]
    public void Times_PutEachHourIntoItsBucket()
    {
        StatisticsRow[] rows =
        [
            new(
                At(26, 14),
                StatisticsKinds.Complete,
                "",
                3,
                5,
                9), new(At(26, 13), StatisticsKinds.Complete, "", 2), new(At(25, 15), StatisticsKinds.Complete, "", 10),
            new(At(25, 14), StatisticsKinds.Complete, "", 100), // A day and half an hour ago.
            new(
                At(26, 14),
                StatisticsKinds.Error,
                ErrorCodes.TimedOut,
                4), new(At(26, 12), StatisticsKinds.Error, ErrorCodes.TimedOut, 1),
                new(At(26, 12), StatisticsKinds.Error, ErrorCodes.Stalled, 2),
            new(
                At(26, 14),
                StatisticsKinds.Claimed,
                "",
                3,
                6,
                40), new(At(26, 12), StatisticsKinds.Claimed, "", 3, 8, 30), new(At(26, 13), StatisticsKinds.Queue, "", 17),
        ];

        var day = OverviewTimes.Of(rows, Now, buckets: 24, TimeSpan.FromHours(1));
        var week = OverviewTimes.Of(rows, Now, buckets: 28, TimeSpan.FromHours(6));

        Assert.That((day.All[0].Start, day.All[^1].Start), Is.EqualTo((At(25, 15), At(26, 14))));
        Assert.That((day.Images, day.Errors, day.ErrorShare), Is.EqualTo((15, 7, 7 / 22.0)));
        Assert.That((day.All[0].Images, day.All[^2].Images, day.All[^1].Images), Is.EqualTo((10, 2, 3)));
        Assert.That(
            day.All[^3].Errors, Is.EquivalentTo(new Dictionary<string, int> { [ErrorCodes.TimedOut] = 1, [ErrorCodes.Stalled] = 2 }));
        Assert.That(
            (day.All[^1].WaitMedian, day.All[^1].WaitHigh, day.All[^1].Queue, day.All[^2].WaitHigh, day.All[^2].Queue),
            Is.EqualTo((6.0, 40.0, (int?)null, (double?)null, 17)));
        Assert.That((week.All[0].Start, week.All[^1].Start), Is.EqualTo((At(19, 18), At(26, 12))));
        Assert.That(
            (week.Images, week.All[^1].Images, week.All[^1].WaitMedian, week.All[^1].WaitHigh, week.All[^1].Queue),
            Is.EqualTo((115, 5, 8.0, 40.0, 17)));
        Assert.That(OverviewTimes.Of([], Now, 24, TimeSpan.FromHours(1)).ErrorShare, Is.Null);
    }

    [TestCase(0, 1)]
    [TestCase(1, 1)]
    [TestCase(1.5, 2)]
    [TestCase(3, 5)]
    [TestCase(7, 10)]
    [TestCase(10, 10)]
    [TestCase(11, 20)]
    [TestCase(4001, 5000)]
    public void Ceiling_IsARoundNumber(double most, double end) => Assert.That(Chart.Ceiling(most), Is.EqualTo(end));

    /// <summary>Lines break at unknown values, a single value is a dot, and an empty bucket has no bar.</summary>
    [Test]
    public void Chart_DrawsKnownValues_AndListsThem()
    {
        var times = Enumerable.Range(0, 6).Select(hour => At(26, hour)).ToList();
        var chart = new Chart(
            "Wait <b>",
            "last day",
            "much",
            times,
            [new("a", "one", [1, 2, null, 4, null, null]), new("b", "two", [null, 0, null, 2, null, null])],
            value => $"{value} s");

        var lines = chart.Lines().ToString();
        var bars = chart.Bars().ToString();

        Assert.That(lines, Does.Contain("role=\"img\" aria-label=\"Wait &lt;b&gt;, last day: much\"").And.Not.Contain("<b>"));
        Assert.That(
            (
                Count(lines, "<polyline"),
                Count(lines, "<circle"),
                Count(bars, "<rect class=\"one\" x"),
                Count(bars, "<rect class=\"two\" x")),
            Is.EqualTo((1, 3, 3, 1)),
            lines);
        Assert.That(lines, Does.Contain("points=\"119.3,104.4 206,80.8\""), "of 5 at most, from 128 at the bottom to 10 at the top");
        Assert.That(bars, Does.Contain("<title>2026-11-26 03:00 UTC: a 4 s, b 2 s</title>"));
        Assert.That(Count(bars, "<th scope=\"row\">"), Is.EqualTo(3), "rows with a value");
        Assert.That(lines, Does.Contain(">6 h ago<").And.Contain(">now<").And.Contain(">5 s<"));
        Assert.That(new Chart("x", "last day", "none", times, [], value => $"{value}").Bars().ToString(), Does.Contain("Nothing."));
    }

    /// <summary>A value's format is applied before it is encoded.</summary>
    [Test]
    public void Markup_FormatsValues_BeforeEncoding()
    {
        Assert.That(
            DashboardFormat.Time(Now.AddMilliseconds(7)).ToString(),
            Is.EqualTo("<time datetime=\"2026-11-26T14:25:00.007Z\">2026-11-26 14:25:00 UTC</time>"));
        Assert.That(Markup.Of($"{1.25:0.0} {"<"} {null} {Markup.Of($"<b>{'&'}</b>")}").ToString(), Is.EqualTo("1.3 &lt;  <b>&amp;</b>"));
    }

    [Test]
    public async Task Overview_CountsImagesAndErrors()
    {
        await using var app = await AuthApp.StartAsync();
        var reader = await app.SignInAsync(AuthApp.ReaderKey);
        var empty = await TextAsync(reader, "hangfire/live/overview");
        Assert.That(
            empty,
            Does.Contain("Images, last day: 0 images")
                .And.Contain("Errors by code, last week: none")
                .And.Contain("Wait, last day: no request started"));

        var ids = new List<long>();
        foreach (var prompt in new[] { "bir gül", "bir kedi", "bir gemi [fault:oom]" })
            ids.Add((long)(await app.SubmitAsync(prompt))["id"]!);
        await app.WaitForAsync(ids[0], MessageStatus.Complete);
        await app.WaitForAsync(ids[1], MessageStatus.Complete);
        await app.WaitForAsync(ids[2], MessageStatus.Error);
        await app.App.Services.GetRequiredService<StatisticsWriter>().WriteAsync(CancellationToken.None);

        await Until.TrueAsync(
            async () =>
                (await TextAsync(reader, "hangfire/live/overview")).Contains("Images, last 3 hours: 2 images", StringComparison.Ordinal),
            "the overview is at most a few seconds old");
        var page = await TextAsync(reader, "hangfire/live/overview");
        Assert.That(
            page,
            Does.Contain("Errors by code, last 3 hours: 1 of 3 requests, 33.3 %").And.Contain("iq-code-3").And.Contain("out_of_memory")
                .And.Contain("Images, last week: 2 images"));
        var home = await TextAsync(reader, "hangfire");
        Assert.That(
            home,
            Does.Contain("1 of 3").And.Contain("hangfire/failures").And.Contain("Images per hour").And.Contain("id=\"realtimeGraph\""),
            "dashboard.js inserts the charts there");

        using var outside = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = app.App.Address };
        Assert.That((int)(await outside.GetAsync("hangfire/live/overview")).StatusCode, Is.EqualTo(401).Or.EqualTo(302));
    }

    private static DateTimeOffset At(int day, int hour) => new(2026, 11, day, hour, 0, 0, TimeSpan.Zero);

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    private static async Task<string> TextAsync(HttpClient http, string path) => WebUtility.HtmlDecode(await http.GetStringAsync(path));
}
