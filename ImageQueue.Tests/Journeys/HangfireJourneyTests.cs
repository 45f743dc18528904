using System.Diagnostics;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>Cancels, retries and operators' actions with Hangfire's real workers: the message and Hangfire's state agree.</summary>
[Category(Categories.App)]
internal sealed class HangfireJourneyTests
{
    private static readonly object Small = new { width = 64, height = 64, steps = 4 };

    private SimulatorServer _forge = null!; // All set before each test.
    private TestApp _app = null!;
    private IBackgroundJobClient _dashboard = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _forge = await SimulatorServer.StartAsync();
        _app = await TestApp.StartAsync(
            new() { ["Forge:Backends:0:Url"] = _forge.Address.AbsoluteUri, ["Forge:Simulator:Enabled"] = "false" });
        _dashboard = _app.Services.GetRequiredService<IBackgroundJobClient>();
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _app.DisposeAsync();
        await _forge.DisposeAsync();
    }

    [Test]
    public async Task States_Agree_HoweverARequestEnds()
    {
        var complete = await SubmitAsync("bir gül");
        await _app.WaitForAsync(complete, MessageStatus.Complete);
        await _app.JobStateAsync(complete, SucceededState.StateName);

        var failed = await SubmitAsync("bir gül [fault:oom]");
        await _app.WaitForAsync(failed, MessageStatus.Error);
        await _app.JobStateAsync(failed, FailedState.StateName);

        var generating = await SubmitAsync("bir gül [fault:stalled]");
        await _app.WaitForAsync(generating, MessageStatus.Processing);
        var waiting = await SubmitAsync("bir gül");
        await CallAsync(waiting, "cancel");
        await _app.JobStateAsync(waiting, DeletedState.StateName);
        await CallAsync(generating, "cancel");
        await _app.JobStateAsync(generating, DeletedState.StateName);
        Assert.That(await StatusAsync(generating), Is.EqualTo(MessageStatus.Cancelled));
    }

    [Test]
    public async Task Cancel_FreesForge_AndMovesEveryoneUp()
    {
        var generating = await SubmitAsync("bir gül [fault:stalled]");
        await ActiveAsync();
        var waiting = new[] { await SubmitAsync("a [fault:stalled]"), await SubmitAsync("b"), await SubmitAsync("c") };

        await CallAsync(waiting[1], "cancel");
        Assert.That((int)(await _app.GetMessageAsync(waiting[2]))["queue"]!["position"]!, Is.EqualTo(2));

        var started = Stopwatch.GetTimestamp();
        await CallAsync(generating, "cancel");
        await Until.TrueAsync(() => _forge.Simulator.Stats.Snapshot().InterruptCalls == 1, "Forge is interrupted");
        TestContext.Out.WriteLine($"Forge is free {Stopwatch.GetElapsedTime(started).TotalMilliseconds:0} ms after the cancel.");

        await _app.WaitForAsync(waiting[0], MessageStatus.Processing);
        await CallAsync(waiting[0], "cancel");
        await _app.WaitForAsync(waiting[2], MessageStatus.Complete);
        Assert.That(Directory.GetFiles(_app.ImagesFolder), Has.Length.EqualTo(2), "half-done images are thrown away");
    }

    [Test]
    public async Task Retry_GeneratesAgain_AfterErrorAndAfterCancel()
    {
        var id = await SubmitAsync("bir gül [fault:oom*1]");
        await _app.WaitForAsync(id, MessageStatus.Error);
        await CallAsync(id, "retry");
        await _app.WaitForAsync(id, MessageStatus.Complete);
        await _app.JobStateAsync(id, SucceededState.StateName);

        var cancelled = await SubmitAsync("bir gül [fault:stalled*1]");
        await ActiveAsync();
        await CallAsync(cancelled, "cancel");
        await CallAsync(cancelled, "retry");
        await _app.WaitForAsync(cancelled, MessageStatus.Complete);
    }

    [Test]
    public async Task OperatorsDelete_Cancels()
    {
        var generating = await SubmitAsync("bir gül [fault:stalled]");
        await ActiveAsync();
        var waiting = await SubmitAsync("bir gül");

        foreach (var id in new[] { waiting, generating })
        {
            var started = Stopwatch.GetTimestamp();
            Assert.That(
                _dashboard.ChangeState(await JobAsync(id), new DeletedState { Reason = "Triggered via Dashboard UI" }, null), Is.True);
            await _app.WaitForAsync(id, MessageStatus.Cancelled);
            TestContext.Out.WriteLine($"Cancelled {Stopwatch.GetElapsedTime(started).TotalMilliseconds:0} ms after the operator's delete.");
            await _app.JobStateAsync(id, DeletedState.StateName);
        }

        await Until.TrueAsync(() => _forge.Simulator.Stats.Snapshot().InterruptCalls == 1, "Forge is interrupted");
    }

    [Test]
    public async Task OperatorsRequeue_GeneratesAgain_WhenTheJobHadFailedOrWasDeleted()
    {
        // Many at once, so that workers and the reader of operators' commands meet in every order.
        var ids = new List<long>();
        for (var i = 0; i < 8; i++)
            ids.Add(await SubmitAsync($"bir gül {i} [fault:oom*1]"));
        foreach (var id in ids)
            await _app.JobStateAsync(id, FailedState.StateName);

        foreach (var id in ids)
        {
            Assert.That(
                _dashboard.ChangeState(await JobAsync(id), new EnqueuedState { Reason = "Triggered via Dashboard UI" }, null), Is.True);
        }

        foreach (var id in ids)
        {
            await _app.WaitForAsync(id, MessageStatus.Complete);
            await _app.JobStateAsync(id, SucceededState.StateName);
        }

        Assert.That(_forge.Simulator.Stats.Snapshot().Total, Is.EqualTo(16), "each generated once more, and once only");
    }

    [Test]
    public async Task OperatorsRequeue_StartsOver_WhenTheJobIsBeingGenerated()
    {
        var id = await SubmitAsync("bir gül [fault:stalled*1]");
        await ActiveAsync();

        Assert.That(_dashboard.ChangeState(await JobAsync(id), new EnqueuedState { Reason = "Triggered via Dashboard UI" }, null), Is.True);

        await _app.WaitForAsync(id, MessageStatus.Complete);
        await _app.JobStateAsync(id, SucceededState.StateName);
        Assert.That(_forge.Simulator.Stats.Snapshot().Received.Select(request => request.Task[32..]), Is.EqualTo(new[] { "-1", "-2" }));
    }

    [Test]
    public async Task Sweep_IsARecurringJobOfItsOwnQueue()
    {
        var recurring = _app.Services.GetRequiredService<IRecurringJobManagerV2>();
        await Until.TrueAsync(() => recurring.TriggerJob(RecurringJobs.SweepId) is not null, "the sweep is scheduled");

        // Generating does not hold it up.
        await SubmitAsync("bir gül [fault:stalled]");
        await ActiveAsync();
        var job = recurring.TriggerJob(RecurringJobs.SweepId);

        await Until.TrueAsync(() => StateOf(job) == SucceededState.StateName, "the sweep has run");
        Assert.That(_app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    private string? StateOf(string job)
    {
        using var connection = _app.Services.GetRequiredService<JobStorage>().GetConnection();
        return connection.GetStateData(job)?.Name;
    }

    private async Task<long> SubmitAsync(string prompt) => (long)(await _app.SubmitAsync(prompt, more: Small))["id"]!;

    private Task ActiveAsync() => Until.TrueAsync(() => _forge.Simulator.Stats.Snapshot().InFlight == 1, "Forge generates");

    private async Task CallAsync(long id, string verb)
    {
        using var response = await _app.Http.PostAsync($"api/messages/{id}/{verb}", null);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
    }

    private async Task<string?> StatusAsync(long id) => (string?)(await _app.GetMessageAsync(id))["extra_metadata"]!["status"];

    private async Task<string> JobAsync(long id) =>
        (await _app.Services.GetRequiredService<IMessageStore>().FindAsync(id, CancellationToken.None))!.HangfireJobId!;
}
