using ImageQueue.Core.Backends;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>The circuit breaker as a table: what happens to a backend, and what it is afterwards.</summary>
[Category(Categories.Fast)]
internal sealed class BackendHealthTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // up, down: probes. fail, fail2, last: failures of a request, another, and one that would end its request. disrupted, refused, done:
    // requests.
    // canary+, canary-, canary?, canary4xx: canaries that succeed, fail, are not taken, are not accepted.
    [TestCase("", BackendState.Unknown, false)]
    [TestCase("up", BackendState.Healthy, false)]
    [TestCase("down", BackendState.Unhealthy, false)]
    [TestCase("down up", BackendState.Healthy, false, Description = "a probe closes what a probe opened")]
    [TestCase("up down", BackendState.Unhealthy, false)]
    [TestCase("up fail", BackendState.Healthy, false, Description = "one failure may be the request's")]
    [TestCase("up fail fail", BackendState.Healthy, false, Description = "the same request again")]
    [TestCase("up fail done fail2", BackendState.Healthy, false, Description = "not in a row")]
    [TestCase("up fail fail2", BackendState.Suspect, true)]
    [TestCase("up last", BackendState.Suspect, true, Description = "no request ends before the canary has spoken")]
    [TestCase("up disrupted", BackendState.Suspect, true)]
    [TestCase("up disrupted up", BackendState.Suspect, true, Description = "a probe alone does not close it")]
    [TestCase("up disrupted up canary+", BackendState.Healthy, false)]
    [TestCase("up disrupted up canary-", BackendState.Unhealthy, true)]
    [TestCase("up disrupted up canary- up", BackendState.Unhealthy, true)]
    [TestCase("up disrupted up canary- up canary+", BackendState.Healthy, false)]
    [TestCase("up disrupted up canary?", BackendState.Unhealthy, true)]
    [TestCase("up disrupted down", BackendState.Unhealthy, true)]
    [TestCase("up disrupted down up", BackendState.Unhealthy, true)]
    [TestCase("up disrupted down up canary+", BackendState.Healthy, false)]
    [TestCase("up disrupted up canary4xx", BackendState.Healthy, false)]
    [TestCase("up disrupted up canary4xx disrupted", BackendState.Suspect, false, Description = "its probe alone decides")]
    [TestCase("up disrupted up canary4xx disrupted up", BackendState.Healthy, false)]
    [TestCase("up disrupted up canary4xx down up disrupted", BackendState.Suspect, true, Description = "after a restart it may accept it")]
    [TestCase("up refused", BackendState.Unhealthy, true)]
    [TestCase("up refused up", BackendState.Unhealthy, true)]
    [TestCase("up refused up canary+", BackendState.Healthy, false)]
    [TestCase("down disrupted", BackendState.Unhealthy, true)]
    [TestCase("up drain", BackendState.Draining, false)]
    [TestCase("up drain disrupted", BackendState.Suspect, true)]
    [TestCase("up drain drained", BackendState.Healthy, false)]
    [TestCase("up pause", BackendState.Paused, false)]
    [TestCase("up pause disrupted", BackendState.Paused, true)]
    [TestCase("up pause disrupted resume", BackendState.Suspect, true)]
    [TestCase("up pause down resume", BackendState.Unhealthy, false)]
    [TestCase("pause resume", BackendState.Unknown, false)]
    public void State_Follows_WhatHappens(string events, BackendState state, bool needsCanary)
    {
        var health = Run(events);

        Assert.That((health.State, health.NeedsCanary), Is.EqualTo((state, needsCanary)));
        Assert.That(health.IsClosed, Is.EqualTo(state is BackendState.Healthy or BackendState.Draining || events is "up pause"));
    }

    [TestCase("up disrupted", false, Description = "probed first: a dying process would speak for the backend")]
    [TestCase("up disrupted up", true)]
    [TestCase("up disrupted down", false)]
    [TestCase("up disrupted down up", true)]
    [TestCase("up disrupted up canary-", false, Description = "after a pause")]
    [TestCase("up disrupted up canary- down up", true, Description = "a restarted server need not wait")]
    [TestCase("up refused up", false)]
    public void Canary_IsDue_WhenTheBackendAnswersItsProbe(string events, bool isDue) =>
        Assert.That(Run(events).IsCanaryDue(Start), Is.EqualTo(isDue));

    [Test]
    public void CanaryDelays_DoubleUpToFiveMinutes_UntilARequestCompletes()
    {
        var health = Run("up disrupted up");
        var delays = new List<double>();
        var now = Start;
        for (var i = 0; i < 11; i++)
        {
            health.CanaryFailed("CUDA error", now);
            delays.Add((health.CanaryAt!.Value - now).TotalSeconds);
            now = health.CanaryAt.Value;
            Assert.That((health.IsCanaryDue(now - TimeSpan.FromMilliseconds(1)), health.IsCanaryDue(now)), Is.EqualTo((false, true)));
        }

        Assert.That(delays, Is.EqualTo(new double[] { 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300 }));

        health.CanarySucceeded(now);
        health.RequestCompleted();
        health.RequestDisrupted("reset", now);
        health.ProbeSucceeded(now);
        health.CanaryFailed("CUDA error", now);
        Assert.That(health.CanaryAt!.Value - now, Is.EqualTo(TimeSpan.FromSeconds(1)));
    }

    [Test]
    public void Since_StaysThatOfTheState_WhileTrialsFail()
    {
        var health = Run("up disrupted up");
        var tripped = Start + TimeSpan.FromMinutes(1);
        health.CanaryFailed("CUDA error", tripped);
        for (var minute = 2; minute < 10; minute++)
        {
            var now = Start + TimeSpan.FromMinutes(minute);
            health.ProbeSucceeded(now);
            health.CanaryFailed("CUDA error", now);
        }

        Assert.That((health.State, health.Since), Is.EqualTo((BackendState.Unhealthy, tripped)));

        var mended = Start + TimeSpan.FromMinutes(10);
        health.CanarySucceeded(mended);
        Assert.That((health.State, health.Since, health.Reason), Is.EqualTo((BackendState.Healthy, mended, "CUDA error")));
    }

    [Test]
    public void Canary_IsDue_WhenTheClockWasSetBack()
    {
        var health = Run("up disrupted up canary-");

        Assert.That(health.IsCanaryDue(Start - TimeSpan.FromHours(1)), Is.True);
    }

    [Test]
    public void Hasten_LetsTheCanaryComeAtOnce()
    {
        var health = Run("up disrupted up canary-");

        health.Hasten(Start);

        Assert.That(health.IsCanaryDue(Start), Is.True);
    }

    private static BackendHealth Run(string events)
    {
        var health = new BackendHealth(Start);
        foreach (var name in events.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            Happen(health, name);
        return health;
    }

    private static void Happen(BackendHealth health, string name)
    {
        switch (name)
        {
            case "up":
                health.ProbeSucceeded(Start);
                break;
            case "down":
                health.ProbeFailed("connection refused", Start);
                break;
            case "fail":
                health.RequestFailed("1", "boom", isLast: false, Start);
                break;
            case "fail2":
                health.RequestFailed("2", "boom", isLast: false, Start);
                break;
            case "last":
                health.RequestFailed("1", "boom", isLast: true, Start);
                break;
            case "disrupted":
                health.RequestDisrupted("reset", Start);
                break;
            case "refused":
                health.RequestRefused("503", Start);
                break;
            case "done":
                health.RequestCompleted();
                break;
            case "canary+":
                health.CanarySucceeded(Start);
                break;
            case "canary-":
                health.CanaryFailed("CUDA error", Start);
                break;
            case "canary?":
                health.RequestRefused("connection refused", Start);
                break;
            case "canary4xx":
                health.CanaryRefused(Start);
                break;
            case "pause" or "resume":
                health.SetPaused(name == "pause", Start);
                break;
            case "drain" or "drained":
                health.SetDraining(name == "drain", Start);
                break;
            default:
                throw new ArgumentException($"unknown event {name}", nameof(name));
        }
    }
}
