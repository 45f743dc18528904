using System.Globalization;
using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Positions in a line that many join and leave.</summary>
internal sealed class WaitingLineTests
{
    [Test]
    public void PositionOf_IsTheLists_AfterManyHaveJoinedAndLeft()
    {
        const int seed = 11;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var expected = new List<string>();
        var line = new WaitingLine([]);
        for (var step = 0; step < 6000; step++)
        {
            if (random.Next(100) < 52)
            {
                expected.Add(Job(step));
                line.Join(Job(step));
            }
            else if (expected.Count > 0)
            {
                // Mostly the head, as in a queue; now and then from the middle.
                var index = random.Next(3) > 0 ? 0 : random.Next(expected.Count);
                line.Leave(expected[index]);
                expected.RemoveAt(index);
            }

            if (step % 50 != 0)
                continue;
            var view = line.ViewWithout([]);
            Assert.That(view.InOrder(), Is.EqualTo(expected));
            Assert.That(expected.Select(job => view.PositionOf(job)), Is.EqualTo(Enumerable.Range(1, expected.Count)));
            Assert.That(Enumerable.Range(1, view.Count).Select(view.At), Is.EqualTo(expected));
        }
    }

    [Test]
    public void View_KeepsItsPositions_WhenOthersJoinAndLeave()
    {
        var line = new WaitingLine([Job(1), Job(2), Job(3)]);
        var view = line.ViewWithout([]);

        line.Leave(Job(1));
        for (var i = 4; i < 400; i++)
            line.Join(Job(i));

        Assert.Multiple(() =>
        {
            Assert.That(view.Count, Is.EqualTo(3));
            Assert.That(view.PositionOf(Job(3)), Is.EqualTo(3));
            Assert.That(view.PositionOf(Job(4)), Is.Null);
            Assert.That(view.At(2), Is.EqualTo(Job(2)));
            Assert.That(line.ViewWithout([]).PositionOf(Job(3)), Is.EqualTo(2));
        });
    }

    [Test]
    public void ViewWithout_LeavesOthersOut_ButNotForGood()
    {
        var line = new WaitingLine([Job(1), Job(2), Job(3)]);

        Assert.That(line.ViewWithout([Job(1), "unknown", Job(9)]).InOrder(), Is.EqualTo(new[] { Job(2), Job(3) }));
        Assert.That(line.ViewWithout([]).Count, Is.EqualTo(3));
    }

    [TestCase("0")]
    [TestCase("1")]
    [TestCase("9223372036854775807")]
    [TestCase("0f8fad5b-d9cb-469f-a165-70867728950e")]
    public void JobKey_IsTheSameText_AfterARoundTrip(string job) => Assert.That(JobKey.Format(JobKey.Parse(job)), Is.EqualTo(job));

    [TestCase("")]
    [TestCase("-1")]
    [TestCase("job")]
    public void JobKey_IsNone_WhenTheTextIsNoHangfireId(string job)
    {
        Assert.That(JobKey.TryParse(job, out _), Is.False);
        Assert.That(new WaitingLine([Job(1)]).ViewWithout([]).PositionOf(job), Is.Null);
    }

    private static string Job(int number) => number.ToString(CultureInfo.InvariantCulture);
}
