using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Options;
using NUnit.Framework;

namespace ImageQueue.Tests.Generation;

/// <summary>The table of the design, line by line: what becomes of the request, and what is thought of the server.</summary>
[Category(Categories.Fast)]
internal sealed class FailurePolicyTests
{
    private const string Secret = "gpu1.internal:7860 RuntimeError: Traceback (most recent call last)";

    [TestCase(ForgeFailure.Unavailable)]
    [TestCase(ForgeFailure.Disrupted)]
    [TestCase(ForgeFailure.GatewayTimeout)]
    public void ServersFault_LeavesTheRequestItsTurn_HoweverOften(ForgeFailure failure)
    {
        foreach (var failures in new[] { 0, 1, 50 })
            Assert.That(Decide(failure, failures), Is.EqualTo(FailureDecision.GoOn(ServerVerdict.Down, isBlamed: false)));
    }

    [TestCase(ForgeFailure.Failed, ErrorCodes.BackendFailed)]
    [TestCase(ForgeFailure.BadImage, ErrorCodes.BadImage)]
    [TestCase(ForgeFailure.BlackImage, ErrorCodes.BadImage)]
    [TestCase(ForgeFailure.WrongModel, ErrorCodes.BackendFailed)]
    public void EithersFault_IsTriedOnceMore_AndThenIsTheRequests(ForgeFailure failure, string code)
    {
        Assert.That(Decide(failure, failures: 0), Is.EqualTo(FailureDecision.GoOn(ServerVerdict.Doubtful, isBlamed: true)));
        var second = Decide(failure, failures: 1);
        Assert.That((second.End!.Value.Code, second.Server), Is.EqualTo((code, ServerVerdict.Doubtful)));
    }

    [TestCase(ForgeFailure.Timeout, ErrorCodes.TimedOut)]
    [TestCase(ForgeFailure.Stalled, ErrorCodes.Stalled)]
    [TestCase(ForgeFailure.Rejected, ErrorCodes.Rejected)]
    [TestCase(ForgeFailure.OutOfMemory, ErrorCodes.OutOfMemory)]
    public void RequestsFault_EndsIt_AndTheServerIsFine(ForgeFailure failure, string code)
    {
        var decision = Decide(failure, failures: 0);

        Assert.That((decision.End!.Value.Code, decision.Server), Is.EqualTo((code, ServerVerdict.Fine)));
    }

    [Test]
    public void SomebodysInterrupt_IsBegunAgain_UntilItIsTooOften()
    {
        Assert.That(Decide(ForgeFailure.Interrupted, failures: 1), Is.EqualTo(FailureDecision.GoOn(ServerVerdict.Fine, isBlamed: true)));
        Assert.That(Decide(ForgeFailure.Interrupted, failures: 2).End!.Value.Code, Is.EqualTo(ErrorCodes.BackendFailed));
    }

    [Test]
    public void DiskAndMistakes_EndTheRequest()
    {
        Assert.That(Policy().Decide(new IOException(Secret), Row(0)).End!.Value.Code, Is.EqualTo(ErrorCodes.NotStored));
        Assert.That(Policy().Decide(new InvalidOperationException(Secret), Row(0)).End!.Value.Code, Is.EqualTo(ErrorCodes.Unexpected));
    }

    /// <summary>No host, port or Python text in a user's sentence.</summary>
    [Test]
    public void Sentences_NeverRepeatWhatTheServerSaid([Values("tr", "en")] string culture)
    {
        foreach (var failure in Enum.GetValues<ForgeFailure>())
        {
            foreach (var failures in new[] { 0, 5 })
            {
                if (Policy(culture).Decide(new ForgeException(failure, Secret), Row(failures)).End is { } end)
                    Assert.That(end.Sentence, Does.Not.Contain("gpu1").And.Not.Contain("7860").And.Not.Contain("Traceback"), $"{failure}");
            }
        }
    }

    [Test]
    public void Refusal_NamesTheFieldAndTheChoices()
    {
        var refused = new ForgeException(ForgeFailure.Rejected, Secret) { Refusal = new ForgeRefusal("sampler", "Heun", ["DPM++ 2M", "Euler"]) };

        Assert.That(
            Policy("en").Decide(refused, Row(0)).End!.Value.Sentence,
            Is.EqualTo("Forge does not accept this request: it does not support Heun as sampler. It does: DPM++ 2M, Euler."));
    }

    private static FailureDecision Decide(ForgeFailure failure, int failures) => Policy().Decide(new ForgeException(failure, Secret), Row(failures));

    private static FailurePolicy Policy(string culture = "tr") =>
        new(new MessageTexts(Options.Create(new MessagesOptions { Culture = culture })), Options.Create(new ForgeOptions()));

    private static Message Row(int failures) => new()
    {
        Id = 1,
        ConversationId = "c",
        Role = MessageRole.Bot,
        Content = "",
        ExtraMetadata = "{}",
        CreatedAt = default,
        UpdatedAt = default,
        QueuedAt = default(DateTimeOffset),
        Attempt = failures + 1,
        Failures = failures,
        Revision = 1,
    };
}
