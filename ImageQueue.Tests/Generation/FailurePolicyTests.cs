using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using NUnit.Framework;
using static ImageQueue.Core.Generation.BackendSignal;
using static ImageQueue.Core.Generation.NextStep;
using static ImageQueue.Core.Generation.RowChange;

namespace ImageQueue.Tests.Generation;

/// <summary>The table of design 7: what an outcome does to the request, and what the backend's circuit breaker hears.</summary>
[Category(Categories.Fast)]
internal sealed class FailurePolicyTests
{
    private const string Secret = "gpu1.internal:7860 RuntimeError: Traceback (most recent call last)";

    private static readonly Line[] Table =
    [
        // The backend did not take it: never charged, however often.
        new(ForgeFailure.Unavailable, RequeueInPlace, AttemptCharge.None, Unavailable, Retry),
        new(ForgeFailure.Unavailable, RequeueInPlace, AttemptCharge.None, Unavailable, Retry) { Failures = 2, Disruptions = 2 },

        // It broke off after it had taken the request: the canary decides.
        new(ForgeFailure.Disrupted, RequeueInPlace, AttemptCharge.Disruption, Disrupted, Retry),
        new(ForgeFailure.Disrupted, RequeueInPlace, AttemptCharge.None, Disrupted, Retry) { IsBackendAtFault = true },
        new(
            ForgeFailure.Disrupted,
            RequeueInPlace,
            AttemptCharge.None,
            Disrupted,
            Retry) { IsBackendAtFault = true, Disruptions = 2, HaveOthersCompleted = true },
        new(ForgeFailure.Disrupted, RequeueAtTail, AttemptCharge.Disruption, Disrupted, LeaveToNewJob) { Disruptions = 1 },
        new(ForgeFailure.Disrupted, Fail, AttemptCharge.None, Disrupted, FailJob)
        {
            Disruptions = 1,
            HaveOthersCompleted = true,
            Code = ErrorCodes.BackendFailed,
        },
        new(ForgeFailure.Disrupted, Fail, AttemptCharge.None, Disrupted, FailJob) { Disruptions = 2, Code = ErrorCodes.BackendFailed },
        new(
            ForgeFailure.Disrupted,
            RequeueInPlace,
            AttemptCharge.Disruption,
            Disrupted,
            Retry) { Failures = 2, HaveOthersCompleted = true },
        new(ForgeFailure.GatewayTimeout, RequeueInPlace, AttemptCharge.Disruption, Disrupted, Retry),
        new(ForgeFailure.GatewayTimeout, RequeueInPlace, AttemptCharge.None, Disrupted, Retry) { IsBackendAtFault = true, Disruptions = 2 },
        new(ForgeFailure.GatewayTimeout, RequeueAtTail, AttemptCharge.Disruption, Disrupted, LeaveToNewJob) { Disruptions = 1 },
        new(ForgeFailure.GatewayTimeout, Fail, AttemptCharge.None, Disrupted, FailJob) { Disruptions = 2, Code = ErrorCodes.TimedOut },

        // A failure: once more; the second is the request's error, unless the canary finds the backend at fault.
        new(ForgeFailure.Failed, RequeueInPlace, AttemptCharge.Failure, Failed, Retry),
        new(ForgeFailure.Failed, RequeueInPlace, AttemptCharge.None, Failed, Retry) { IsBackendAtFault = true },
        new(ForgeFailure.Failed, Fail, AttemptCharge.None, FailedForGood, FailJob) { Failures = 1, Code = ErrorCodes.BackendFailed },
        new(ForgeFailure.Failed, RequeueInPlace, AttemptCharge.None, Failed, Retry) { Failures = 1, IsBackendAtFault = true },
        new(ForgeFailure.Failed, RequeueInPlace, AttemptCharge.Failure, Failed, Retry) { Disruptions = 2 },
        new(ForgeFailure.BadImage, RequeueInPlace, AttemptCharge.Failure, Failed, Retry),
        new(ForgeFailure.BadImage, Fail, AttemptCharge.None, FailedForGood, FailJob) { Failures = 1, Code = ErrorCodes.BadImage },
        new(ForgeFailure.BlackImage, Fail, AttemptCharge.None, FailedForGood, FailJob) { Failures = 1, Code = ErrorCodes.BadImage },
        new(ForgeFailure.WrongModel, Fail, AttemptCharge.None, FailedForGood, FailJob) { Failures = 1, Code = ErrorCodes.BackendFailed },

        // Another client interrupted it: again, up to Forge:MaxAttempts.
        new(ForgeFailure.Interrupted, RequeueInPlace, AttemptCharge.Failure, BackendSignal.None, Retry) { Failures = 1 },
        new(
            ForgeFailure.Interrupted,
            Fail,
            AttemptCharge.None,
            BackendSignal.None,
            FailJob) { Failures = 2, Code = ErrorCodes.BackendFailed },

        // The request's own, and our own time-outs, after which the backend drains: no retry.
        new(ForgeFailure.Timeout, Fail, AttemptCharge.None, BackendSignal.None, FailJob) { Code = ErrorCodes.TimedOut },
        new(ForgeFailure.Stalled, Fail, AttemptCharge.None, BackendSignal.None, FailJob) { Code = ErrorCodes.Stalled },
        new(ForgeFailure.Rejected, Fail, AttemptCharge.None, BackendSignal.None, FailJob) { Code = ErrorCodes.Rejected },
        new(ForgeFailure.SourceGone, Fail, AttemptCharge.None, BackendSignal.None, FailJob) { Code = ErrorCodes.Rejected },
        new(ForgeFailure.OutOfMemory, Fail, AttemptCharge.None, BackendSignal.None, FailJob) { Code = ErrorCodes.OutOfMemory },
    ];

    [TestCaseSource(nameof(Table))]
    public void Resolve_FollowsTheTable(Line line)
    {
        var outcome = AttemptOutcome.Of(new ForgeException(line.Failure, Secret), isStopping: false) with
        {
            IsBackendAtFault = line.IsBackendAtFault,
            HaveOthersCompleted = line.HaveOthersCompleted,
        };

        var resolution = Policy().Resolve(outcome, Row(line.Failures, line.Disruptions));

        Assert.That(
            (resolution.Row, resolution.Charge, resolution.Signal, resolution.Next, resolution.Failure?.Code),
            Is.EqualTo((line.Row, line.Charge, line.Signal, line.Next, line.Code)));
    }

    [Test]
    public void Resolve_KnowsEveryKindOfFailure() =>
        Assert.That(Table.Select(line => line.Failure).Distinct(), Is.EquivalentTo(Enum.GetValues<ForgeFailure>()));

    [TestCase(AttemptResult.Completed, RowChange.None, Finish)]
    [TestCase(AttemptResult.Superseded, RowChange.None, Reconcile)]
    [TestCase(AttemptResult.JobDeleted, Cancel, Abort)]
    [TestCase(AttemptResult.JobRequeued, RequeueInPlace, Abort)]
    [TestCase(AttemptResult.ShuttingDown, RequeueInPlace, GiveBack)]
    public void Resolve_ChargesNothing_WhenNeitherRequestNorBackendFailed(object result, object row, object next)
    {
        var resolution = Policy().Resolve(new AttemptOutcome((AttemptResult)result), Row(failures: 2, disruptions: 2));

        Assert.That(
            (resolution.Row, resolution.Charge, resolution.Signal, resolution.Next),
            Is.EqualTo(((RowChange)row, AttemptCharge.None, BackendSignal.None, (NextStep)next)));
    }

    [TestCase(ForgeFailure.Unavailable)]
    [TestCase(ForgeFailure.Disrupted)]
    [TestCase(ForgeFailure.GatewayTimeout)]
    public void Outcome_IsShuttingDown_WhenTheBackendBreaksOffDuringOurStop(ForgeFailure failure) =>
        Assert.That(
            AttemptOutcome.Of(new ForgeException(failure, Secret), isStopping: true).Result, Is.EqualTo(AttemptResult.ShuttingDown));

    [Test]
    public void Limits_ComeFromTheSettings()
    {
        var policy = Policy(options: new ForgeOptions { MaxDisruptions = 1, MaxAttempts = 1 });
        var disrupted = AttemptOutcome.Of(new ForgeException(ForgeFailure.Disrupted, Secret), isStopping: false);
        var failed = AttemptOutcome.Of(new ForgeException(ForgeFailure.Failed, Secret), isStopping: false);

        Assert.That((policy.Resolve(disrupted, Row(0)).Row, policy.Resolve(failed, Row(0)).Row), Is.EqualTo((Fail, Fail)));
    }

    [Test]
    public void DiskAndMistakes_EndTheRequest()
    {
        Assert.That(CodeOf(new IOException(Secret)), Is.EqualTo(ErrorCodes.NotStored));
        Assert.That(CodeOf(new InvalidOperationException(Secret)), Is.EqualTo(ErrorCodes.Unexpected));

        static string? CodeOf(Exception cause) => Policy().Resolve(AttemptOutcome.Of(cause, isStopping: false), Row(0)).Failure?.Code;
    }

    /// <summary>No host, port or Python text in a user's sentence.</summary>
    [Test]
    public void Sentences_NeverRepeatWhatTheServerSaid([Values("tr", "en")] string culture)
    {
        foreach (var failure in Enum.GetValues<ForgeFailure>())
        {
            foreach (var count in new[] { 0, 5 })
            {
                var outcome = AttemptOutcome.Of(new ForgeException(failure, Secret), isStopping: false);
                if (Policy(culture).Resolve(outcome, Row(count, count)).Failure is { } end)
                    Assert.That(end.Sentence, Does.Not.Contain("gpu1").And.Not.Contain("7860").And.Not.Contain("Traceback"), $"{failure}");
            }
        }
    }

    [Test]
    public void Refusal_NamesTheFieldAndTheChoices()
    {
        var refused =
            new ForgeException(ForgeFailure.Rejected, Secret) { Refusal = new ForgeRefusal("sampler", "Heun", ["DPM++ 2M", "Euler"]) };

        Assert.That(
            Policy("en").Resolve(AttemptOutcome.Of(refused, isStopping: false), Row(0)).Failure!.Value.Sentence,
            Is.EqualTo("Forge does not accept this request: it does not support Heun as sampler. It does: DPM++ 2M, Euler."));
    }

    private static FailurePolicy Policy(string culture = "tr", ForgeOptions? options = null) =>
        new(new MessageTexts(Options.Create(new MessagesOptions { Culture = culture })), Options.Create(options ?? new ForgeOptions()));

    internal static Message Row(int failures, int disruptions = 0, long id = 1) => new()
    {
        Id = id,
        ConversationId = "c",
        Role = MessageRole.Bot,
        Content = "",
        ExtraMetadata = "{}",
        CreatedAt = default,
        UpdatedAt = default,
        QueuedAt = default(DateTimeOffset),
        Attempt = failures + disruptions + 1,
        Failures = failures,
        Disruptions = disruptions,
        Revision = 1,
    };

    /// <summary>A line of the table.</summary>
    internal sealed record Line(ForgeFailure Failure, RowChange Row, AttemptCharge Charge, BackendSignal Signal, NextStep Next)
    {
        public int Failures { get; init; }

        public int Disruptions { get; init; }

        public bool IsBackendAtFault { get; init; }

        public bool HaveOthersCompleted { get; init; }

        public string? Code { get; init; }
    }
}
