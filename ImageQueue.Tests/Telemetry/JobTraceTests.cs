using System.Diagnostics;
using Hangfire;
using ImageQueue.Core.Telemetry;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Telemetry;

/// <summary>What a Hangfire job keeps of the trace that it belongs to.</summary>
internal sealed class JobTraceTests
{
    [Test]
    public async Task Job_KeepsNothing_WhenNobodyListens()
    {
        await using var bench = await Bench.CreateAsync();
        using var request = new Activity("a request").Start();

        Assert.That(ParameterOf(bench, (await bench.QueueAsync()).HangfireJobId!), Is.Null);
    }

    [Test]
    public async Task Job_BelongsToTheTraceOfTheRequest_AndToOneOfItsOwn_WhenThereIsNone()
    {
        var sent = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == QueueTracing.SourceName,
            Sample = (ref _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = sent.Add,
        };
        ActivitySource.AddActivityListener(listener);
        await using var bench = await Bench.CreateAsync();

        // As a rebuild does it.
        Assert.That(Activity.Current, Is.Null);
        var alone = ParameterOf(bench, (await bench.QueueAsync()).HangfireJobId!);
        using var request = new Activity("a request") { TraceStateString = "vendor=1" };
        request.SetIdFormat(ActivityIdFormat.W3C).Start();
        var asked = (await bench.QueueAsync()).HangfireJobId!;

        Assert.That(sent.Select(span => (span.DisplayName, span.Id)), Is.EqualTo(new[] { ("send images", alone), ("send images", ParameterOf(bench, asked)) }));
        Assert.That(sent.Select(span => span.ParentId), Is.EqualTo(new[] { null, request.Id }));
        Assert.That(ParameterOf(bench, asked, "tracestate"), Is.EqualTo("vendor=1"));
    }

    private static string? ParameterOf(Bench bench, string job, string name = "traceparent")
    {
        using var connection = bench.Get<JobStorage>().GetConnection();
        return connection.GetJobParameter(job, name)?.Trim('"');
    }
}
