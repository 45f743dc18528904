using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

internal sealed class TurnsTests
{
    private Bench _bench = null!; // All set before each test.
    private Message _first = null!;
    private Message _second = null!;

    private Turns Turns => _bench.Get<Turns>();

    [SetUp]
    public async Task SetUp()
    {
        _bench = await Bench.CreateAsync();
        _first = await _bench.QueueAsync();
        _second = await _bench.QueueAsync();
    }

    [TearDown]
    public async Task TearDown() => await _bench.DisposeAsync();

    [Test]
    public async Task First_ComesAtOnce()
    {
        using var turn = Turns.Begin(Take(_first));

        await turn.ComeAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(1));
    }

    [TestCase("in the queue")]
    [TestCase("taken")]
    [TestCase("begun")]
    public async Task Second_WaitsForTheFirst_WhereverThatIs(string where)
    {
        using var second = Turns.Begin(Take(_second));
        if (where != "in the queue")
            Take(_first);
        using var early = where == "begun" ? Turns.Begin(_first.HangfireJobId!) : null;
        using var held = where == "begun" ? _bench.Get<HeldJobs>().Hold(_first.HangfireJobId!) : null;

        var coming = second.ComeAsync(CancellationToken.None);

        await Task.Delay(100);
        Assert.That(coming.IsCompleted, Is.False);
        if (where == "in the queue")
            Take(_first);
        using var first = early ?? Turns.Begin(_first.HangfireJobId!);
        using var holding = held ?? _bench.Get<HeldJobs>().Hold(_first.HangfireJobId!);
        first.Dispose();
        await coming.WaitAsync(TimeSpan.FromSeconds(1.5));
    }

    [Test]
    public async Task Second_DoesNotWaitForEver_WhenTheFirstNeverComes()
    {
        using var second = Turns.Begin(Take(_second));

        await second.ComeAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(20));
    }

    /// <summary>As Hangfire's worker does when it has fetched the job.</summary>
    private string Take(Message message)
    {
        _bench.SetState(message.HangfireJobId!, new Bench.Processing());
        _bench.Get<HeldJobs>().Take(message.HangfireJobId!);
        return message.HangfireJobId!;
    }
}
