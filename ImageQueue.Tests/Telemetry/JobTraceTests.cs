using System.Diagnostics;
using Hangfire;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Telemetry;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Telemetry;

/// <summary>What a Hangfire job keeps of the trace that it belongs to.</summary>
[NonParallelizable] // Meters and activities are the process's.
[Category(Categories.Store)]
internal sealed class JobTraceTests
{
    [Test]
    public async Task Job_HasNoTraceParameters_WithoutAListener()
    {
        await using var bench = await Bench.CreateAsync();
        using var request = new Activity("a request").Start();

        Assert.That(ParameterOf(bench, await EnqueueAsync(bench)), Is.Null);
    }

    [Test]
    public async Task Job_BelongsToTheRequestsTrace_AndToNoneAfterARebuild()
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

        await bench.AddRowAsync();
        await bench.Get<EnqueueImageRequest>().EnqueueAgainAsync(await bench.Store.ListWaitingAsync(null, 10, default));
        var back = (await bench.Store.ListWaitingAsync(null, 10, default)).Single().HangfireJobId!;
        using var request = new Activity("a request") { TraceStateString = "vendor=1" };
        request.SetIdFormat(ActivityIdFormat.W3C).Start();
        var asked = await EnqueueAsync(bench);

        Assert.That(ParameterOf(bench, back), Is.Null);
        Assert.That(
            sent.Select(span => (span.DisplayName, span.Id, span.ParentId)),
            Is.EqualTo(new[] { ("send images", ParameterOf(bench, asked), request.Id) }));
        Assert.That(ParameterOf(bench, asked, "tracestate"), Is.EqualTo("vendor=1"));
    }

    private static async Task<string> EnqueueAsync(Bench bench) =>
        (await bench.Get<EnqueueImageRequest>().EnqueueAsync(await bench.AddRowAsync())).HangfireJobId!;

    private static string? ParameterOf(Bench bench, string job, string name = "traceparent")
    {
        using var connection = bench.Get<JobStorage>().GetConnection();
        return connection.GetJobParameter(job, name)?.Trim('"');
    }
}
