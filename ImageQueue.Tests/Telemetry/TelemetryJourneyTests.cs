using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;
using ImageQueue.Core.Statistics;
using ImageQueue.Core.Telemetry;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Support;
using ImageQueue.Tests.Webhooks;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace ImageQueue.Tests.Telemetry;

/// <summary>One journey through the whole app, and what in-memory exporters, and Prometheus, have seen of it.</summary>
[NonParallelizable] // Meters and activities are the process's.
[Category(Categories.App)]
internal sealed partial class TelemetryJourneyTests
{
    private const string Prompt = "gizli bir zürafa";

    /// <summary>As Prometheus 3 asks.</summary>
    private const string ScraperAccepts =
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    private readonly List<Activity> _spans = [];
    private readonly List<MetricSnapshot> _exported = [];
    private readonly List<LogRecord> _log = [];
    private readonly ConcurrentQueue<string?> _forgeSaw = new();
    private IReadOnlyList<MetricSnapshot> _metrics = [];
    private string _scrape = "";
    private string _token = "";
    private long _first;
    private long _failed;
    private long _cancelled;
    private string _failedJobId = "";
    private string _failedHangfireJobId = "";

    [OneTimeSetUp]
    public async Task TravelAsync()
    {
        await using var receiver = await TestReceiver.StartAsync();
        receiver.Answer = context =>
            TestReceiver.Status(context.Items[nameof(Delivery)] is Delivery { Type: "image.cancelled" } ? 500 : 200)(context);
        var settings = receiver.Settings();
        settings["Telemetry:Prometheus"] = "true";
        await using var app = await AuthApp.StartAsync(settings, configure: Watch);
        var services = app.App.Services;
        var (client, boss) = (app.Client(), app.As(AuthApp.OperatorKey));
        _token = await app.TokenAsync();
        using var events = await SseReader.OpenAsync(client, $"api/conversations/{AuthApp.Conversation}/events");

        _first = await SubmitAsync(app);
        await app.WaitForAsync(_first, MessageStatus.Complete);
        _failed = await SubmitAsync(app, "[fault:oom]");
        _failedJobId = (string)(await app.WaitForAsync(_failed, MessageStatus.Error))["extra_metadata"]!["job_id"]!;
        await PostAsync(boss, $"api/messages/{_failed}/retry");
        await app.WaitForAsync(_failed, MessageStatus.Error);
        var row = await services.GetRequiredService<IMessageStore>().FindAsync(_failed, default);
        _failedHangfireJobId = row!.HangfireJobId!;

        await PostAsync(boss, "api/queue/pause");
        long[] waiting = [await SubmitAsync(app), await SubmitAsync(app), await SubmitAsync(app)];
        await services.GetRequiredService<QueueGauges>().SampleAsync(default);
        services.GetRequiredService<MeterProvider>().ForceFlush();
        _cancelled = waiting[1];
        await PostAsync(boss, $"api/messages/{_cancelled}/cancel");
        await PostAsync(boss, "api/queue/resume");
        await app.WaitForAsync(waiting[0], MessageStatus.Complete);
        await app.WaitForAsync(waiting[2], MessageStatus.Complete);
        await client.GetAsync($"api/conversations?username={Uri.EscapeDataString(AuthApp.Owner)}");
        await app.As(null).GetAsync($"api/conversations/{AuthApp.Conversation}/messages?access_token={Uri.EscapeDataString(_token)}");

        var scraper = app.As(AuthApp.ReaderKey);
        scraper.DefaultRequestHeaders.TryAddWithoutValidation("Accept", ScraperAccepts);
        foreach (var (id, type) in new[]
        {
            (_first, "image.complete"),
            (_failed, "image.error"),
            (waiting[0], "image.complete"),
            (waiting[2], "image.complete"),
        })
        {
            await receiver.TakenAsync(id, type);
        }

        await Until.TrueAsync(
            async () =>
                (_scrape = await scraper.GetStringAsync("metrics")) is var text
                    && text.Contains("imagequeue_health{", StringComparison.Ordinal)
                    && text.Contains("error_type=\"500\"", StringComparison.Ordinal),
            "all instruments have printed");
        await services.GetRequiredService<QueueGauges>().SampleAsync(default);
        services.GetRequiredService<MeterProvider>().ForceFlush();
        _metrics = [.. _exported]; // The stop exports once more.
        services.GetRequiredService<TracerProvider>().ForceFlush();
        // This test's own calls.
        _spans.RemoveAll(span => span.Kind == ActivityKind.Client
            && !$"{span.GetTagItem("url.full")}".Contains("/simulator/", StringComparison.Ordinal));
    }

    [Test]
    public void Request_IsOneTrace_FromTheHttpCallThroughTheQueueToForge()
    {
        var sent = Spans("send images").First(span => $"{span.GetTagItem("imagequeue.message.id")}" == $"{_first}");
        var asked = _spans.Single(span => span.SpanId == sent.ParentSpanId);
        var processed = _spans.Single(span => span.ParentSpanId == sent.SpanId);
        var generated = _spans.Single(span => span.ParentSpanId == processed.SpanId);
        var called = _spans.Single(span => span.ParentSpanId == generated.SpanId);

        Assert.That(
            new[] { asked, sent, processed, generated, called }.Select(span => (span.Kind, span.DisplayName, span.Status)), Is.EqualTo(new[]
        {
            (ActivityKind.Server, "POST api/conversations/{conversation_id}/images", ActivityStatusCode.Unset),
            (ActivityKind.Producer, "send images", ActivityStatusCode.Unset),
            (ActivityKind.Consumer, "process images", ActivityStatusCode.Unset),
            (ActivityKind.Internal, "generate", ActivityStatusCode.Unset),
            (ActivityKind.Client, "POST", ActivityStatusCode.Unset),
        }));
        Assert.That(new[] { sent, processed, generated, called }.Select(span => span.TraceId), Is.All.EqualTo(asked.TraceId));
        Assert.That($"{called.GetTagItem("url.full")}", Does.EndWith("/simulator/sdapi/v1/txt2img"));
        Assert.That((generated.GetTagItem("imagequeue.backend"), generated.GetTagItem("imagequeue.attempt")), Is.EqualTo(("simulator", 1)));
        Assert.That(_forgeSaw, Does.Contain($"00-{asked.TraceId}-{called.SpanId}-01"), "the backend gets the trace");
    }

    [Test]
    public void Retry_IsTracedFromItsCaller_AndSaysWhatFailed()
    {
        var retried = Spans("process images").Last(span => $"{span.GetTagItem("imagequeue.message.id")}" == $"{_failed}");
        var generated = _spans.Single(span => span.ParentSpanId == retried.SpanId);

        Assert.That((generated.Status, generated.GetTagItem("error.type")), Is.EqualTo((ActivityStatusCode.Error, "out_of_memory")));
        Assert.That(retried.Status, Is.EqualTo(ActivityStatusCode.Error));
        Assert.That(
            _spans.Where(span => span.TraceId == retried.TraceId).Select(span => span.DisplayName),
            Is.EquivalentTo(new[] { "POST api/messages/{id:long}/retry", "send images", "process images", "generate", "POST" }));
    }

    /// <summary>The questions for progress and health would be a hundred for each image.</summary>
    [Test]
    public void Spans_LeaveOutProgressAndHealthCalls()
    {
        var calls = _spans.Where(span => span.Kind == ActivityKind.Client).Select(span => $"{span.GetTagItem("url.full")}").ToList();
        Assert.That(calls, Is.All.EndsWith("/simulator/sdapi/v1/txt2img").And.Exactly(5).Items);
        Assert.That(
            _spans.Where(span => span.Kind == ActivityKind.Server).Select(span => $"{span.GetTagItem("url.path")}"),
            Has.None.StartsWith("/simulator").And.None.EqualTo("/metrics"));
    }

    [Test]
    public void Metrics_CountTheJourney()
    {
        Assert.That(Sum("imagequeue.submits"), Is.EqualTo(5));
        Assert.That(Sum("imagequeue.requests", ("imagequeue.outcome", "complete"), ("imagequeue.backend", "simulator")), Is.EqualTo(3));
        Assert.That(
            Sum(
                "imagequeue.requests",
                ("imagequeue.outcome", "error"),
                ("error.type", "out_of_memory"),
                ("imagequeue.backend", "simulator")),
            Is.EqualTo(2));
        Assert.That(Sum("imagequeue.requests", ("imagequeue.outcome", "cancelled")), Is.EqualTo(1));
        Assert.That(Sum("imagequeue.requests"), Is.EqualTo(6));
        Assert.That(Sum("imagequeue.merges", ("imagequeue.transition", "claim"), ("imagequeue.applied", true)), Is.EqualTo(5));
        Assert.That(Sum("imagequeue.merges", ("imagequeue.transition", "retry"), ("imagequeue.applied", true)), Is.EqualTo(1));
        Assert.That(Count("imagequeue.request.wait"), Is.EqualTo(5));
        Assert.That(Count("imagequeue.request.duration"), Is.EqualTo(6));
        Assert.That(
            Sum("imagequeue.backend.attempts", ("imagequeue.backend", "simulator"), ("imagequeue.outcome", "completed")), Is.EqualTo(3));
        Assert.That(Sum("imagequeue.backend.attempts", ("imagequeue.outcome", "failed")), Is.EqualTo(2));
        Assert.That(Count("imagequeue.generation.duration"), Is.EqualTo(3));
        Assert.That(Count("imagequeue.handover.gap"), Is.EqualTo(1), "of the two that waited together, the second");
        Assert.That(Count("imagequeue.feed.lag"), Is.Positive);
        Assert.That(Sum("imagequeue.streams", ("imagequeue.transport", "sse")), Is.EqualTo(1));
        var refused = Sum("imagequeue.webhooks.deliveries", ("error.type", "500"));
        Assert.That(refused, Is.GreaterThanOrEqualTo(1), "and again some seconds later");
        Assert.That(Sum("imagequeue.webhooks.deliveries") - refused, Is.InRange(4, 5), "the second error may be delivered for both");
    }

    [Test]
    public void Gauges_ShowQueueBackendsAndDisk()
    {
        var lengths = _metrics.Where(metric => metric.Name == "imagequeue.queue.length")
            .Select(metric => metric.MetricPoints[0].GetSumLong())
            .ToList();
        Assert.That((lengths[0], lengths[^1]), Is.EqualTo((3, 0)));
        Assert.That(
            _metrics.First(metric => metric.Name == "imagequeue.queue.oldest_wait").MetricPoints[0].GetGaugeLastValueDouble(), Is.Positive);
        Assert.That(
            Points("imagequeue.backend.healthy").Select(point => (TagsOf(point)["imagequeue.backend"], point.GetGaugeLastValueLong())),
            Is.EqualTo(new[] { ("simulator", 1L) }));
        Assert.That(Points("imagequeue.images.disk.free").Single().GetGaugeLastValueLong(), Is.Positive);
        Assert.That(
            Points("imagequeue.health").Select(point => TagsOf(point)["imagequeue.part"]),
            Does.Contain("database").And.Contain("recurring_jobs"));
    }

    [Test]
    public void Units_FollowOpenTelemetry()
    {
        var units = _metrics.Where(metric => metric.MeterName == QueueMetrics.MeterName)
            .Select(metric => (metric.Name, metric.Unit))
            .Distinct()
            .ToList();
        Assert.That(units, Has.Count.EqualTo(20));
        foreach (var (name, unit) in units)
            Assert.That(unit, Does.Match(@"^(s|By|\{[a-z]+\})$"), name);
    }

    /// <summary>Each value of an attribute is a time series for ever.</summary>
    [Test]
    public void Attributes_HaveFewValues()
    {
        string[] allowed =
        [
            "imagequeue.outcome", "imagequeue.backend", "error.type", "imagequeue.transition", "imagequeue.applied", "imagequeue.transport",
            "imagequeue.receiver", "imagequeue.part",
        ];
        var keys = _metrics.Where(metric => metric.MeterName == QueueMetrics.MeterName)
            .SelectMany(metric => metric.MetricPoints)
            .SelectMany(point => TagsOf(point).Keys)
            .Distinct();
        Assert.That(keys, Is.EquivalentTo(allowed));
    }

    [Test]
    public void Operators_AreInTheAuditLog()
    {
        var lines = _log.Where(line => line.CategoryName == AuditLog.Category).Select(line => line.FormattedMessage);
        string By(string path) => $"the operator from 127.0.0.1: POST {path} gave 200.";

        Assert.That(lines, Is.EqualTo(new[]
        {
            By($"/api/messages/{_failed}/retry"), By("/api/queue/pause"), By($"/api/messages/{_cancelled}/cancel"), By("/api/queue/resume"),
        }));
    }

    [Test]
    public void LogLines_OfAJob_HaveItsScope()
    {
        var line = _log.Last(line => line.FormattedMessage?.Contains("out_of_memory", StringComparison.Ordinal) == true);
        var scopes = new Dictionary<string, object?>();
        line.ForEachScope((scope, all) =>
        {
            foreach (var (key, value) in scope)
                all[key] = value;
        }, scopes);

        Assert.That(scopes["MessageId"], Is.EqualTo(_failed));
        Assert.That(scopes["HangfireJobId"], Is.EqualTo(_failedHangfireJobId));
        Assert.That(scopes["JobId"], Is.EqualTo(_failedJobId));
        Assert.That(scopes["Attempt"], Is.EqualTo(2));
        Assert.That(scopes["Backend"], Is.EqualTo("simulator"));
        Assert.That(
            line.TraceId,
            Is.EqualTo(Spans("process images").Last(span => $"{span.GetTagItem("imagequeue.message.id")}" == $"{_failed}").TraceId));
    }

    [Test]
    public void Telemetry_HoldsNoSecretsAndNoTexts()
    {
        var seen = _spans.Select(
            span =>
                $"{span.DisplayName} {span.StatusDescription} {string.Join(' ', span.TagObjects)} "
                    + $"{string.Join(' ', span.Events.SelectMany(one => one.Tags))}")
            .Append(_scrape).ToList();
        foreach (var secret in new[]
        {
            Prompt,
            Uri.EscapeDataString(Prompt),
            _token,
            AuthApp.ClientKey,
            AuthApp.OperatorKey,
            AuthApp.Owner,
            Uri.EscapeDataString(AuthApp.Owner),
        })
        {
            Assert.That(seen, Has.None.Contains(secret));
        }

        Assert.That(seen, Has.Some.Contains("username=Redacted"), "it was there to be seen");
    }

    /// <summary>What the dashboard and the alerts ask for is what is printed, labels and all.</summary>
    [TestCase("grafana/imagequeue.json", 18)]
    [TestCase("prometheus/imagequeue.rules.yml", 7)]
    public void DeployedFile_NamesWhatIsPrinted(string file, int names)
    {
        var text = File.ReadAllText(Path.Combine(Repository.Root, "deploy", file));
        var printed = _scrape.Split('\n').Where(line => line.Length > 0 && line[0] != '#').Select(line => line.Split('{', ' ')[0])
            .ToHashSet(StringComparer.Ordinal);
        var labels = PrintedLabel().Matches(_scrape).Select(label => label.Groups[1].Value).ToHashSet(StringComparer.Ordinal);
        var asked = MetricName().Matches(text).Select(name => name.Value).Where(name => !labels.Contains(name)).Distinct().ToList();
        // Prometheus itself adds these.
        var askedLabels = AskedLabels()
            .Matches(text)
            .SelectMany(match => LabelName().Matches(match.Value).Select(label => label.Value))
            .Except(["job", "instance", "by", "le"])
            .Distinct();

        Assert.That(asked.Where(name => !printed.Contains(name)), Is.Empty, _scrape);
        Assert.That(asked, Has.Count.GreaterThanOrEqualTo(names));
        Assert.That(askedLabels.Where(label => !labels.Contains(label)), Is.Empty);
    }

    [Test]
    public void AlertRules_AreWhole()
    {
        var alerts = File.ReadAllText(
            Path.Combine(Repository.Root, "deploy", "prometheus", "imagequeue.rules.yml")).Split("- alert: ")[1..];
        Assert.That(alerts, Has.Length.GreaterThanOrEqualTo(9));
        foreach (var alert in alerts)
        {
            Assert.That(alert, Does.Match(
                @"(?s)^ImageQueue\w+\n        expr: .+\n        for: \d+m\n        labels: \{ severity: (critical|warning) \}\n"
                + @"        annotations:\n          summary: "".+"""));
            Assert.That(alert.Count(letter => letter == '('), Is.EqualTo(alert.Count(letter => letter == ')')));
        }
    }

    private void Watch(WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<IStartupFilter>(new Overhear(_forgeSaw));
        builder.Services.AddOpenTelemetry()
            .WithTracing(traces => TelemetryServices.Trace(traces).AddInMemoryExporter(_spans))
            .WithMetrics(metrics => metrics.AddInMemoryExporter(_exported))
            .WithLogging(
                logs => logs.AddInMemoryExporter(_log), options => (options.IncludeScopes, options.IncludeFormattedMessage) = (true, true));
    }

    private static async Task<long> SubmitAsync(AuthApp app, string more = "") => (long)(await app.SubmitAsync($"{Prompt} {more}"))["id"]!;

    private static async Task PostAsync(HttpClient http, string path)
    {
        using var response = await http.PostAsync(path, null);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), path);
    }

    private IEnumerable<Activity> Spans(string name) => _spans.Where(span => span.DisplayName == name).OrderBy(span => span.StartTimeUtc);

    private IReadOnlyList<MetricPoint> Points(string name) => _metrics.Last(metric => metric.Name == name).MetricPoints;

    private double Sum(string name, params (string Key, object Value)[] tags) =>
        Points(name).Where(point => tags.All(tag => TagsOf(point).TryGetValue(tag.Key, out var value) && tag.Value.Equals(value))).Sum(
            point => (double)point.GetSumLong());

    private long Count(string name) => Points(name).Sum(point => point.GetHistogramCount());

    private static Dictionary<string, object?> TagsOf(MetricPoint point)
    {
        var tags = new Dictionary<string, object?>();
        foreach (var (key, value) in point.Tags)
            tags[key] = value;
        return tags;
    }

    [GeneratedRegex(@"\b(imagequeue|http_server|http_client|dotnet)_[a-z_]+\b", RegexOptions.CultureInvariant)]
    private static partial Regex MetricName();

    [GeneratedRegex(@"[{,]([a-z_]+)=""", RegexOptions.CultureInvariant)]
    private static partial Regex PrintedLabel();

    /// <summary>In braces behind a metric's name, and behind by.</summary>
    [GeneratedRegex(@"(?<=[a-z])\{[a-z_]+[=!][^}]*\}|by \([a-z_, ]+\)", RegexOptions.CultureInvariant)]
    private static partial Regex AskedLabels();

    [GeneratedRegex(@"[a-z_]+(?=[=!])|(?<=[(,] ?)[a-z_]+(?=[,)])", RegexOptions.CultureInvariant)]
    private static partial Regex LabelName();

    /// <summary>What Forge is sent.</summary>
    private sealed class Overhear(ConcurrentQueue<string?> heard) : IStartupFilter
    {
        public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
        {
            app.Use((context, rest) =>
            {
                if (context.Request.Path.Value?.EndsWith("/txt2img", StringComparison.Ordinal) == true)
                    heard.Enqueue(context.Request.Headers["traceparent"]);
                return rest(context);
            });
            next(app);
        };
    }
}
