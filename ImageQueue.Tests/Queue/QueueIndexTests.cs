using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Positions in a line that many join and leave, at its ends and between.</summary>
[Category(Categories.Fast)]
internal sealed class QueueIndexTests
{
    [Test]
    public void PositionOf_IsTheLists_AfterManyHaveJoinedAndLeftAndComeBack()
    {
        const int seed = 11;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var expected = new SortedList<long, Guid>();
        var line = new QueueIndex();
        var gone = new List<(long Place, Guid Job)>();
        for (var step = 1; step <= 9000; step++)
        {
            var what = random.Next(100);
            if (what < 55)
            {
                expected.Add(step, Job(step));
                line.Add(Job(step), step);
            }
            else if (what < 92 && expected.Count > 0)
            {
                // Mostly the head, as in a queue; now and then from the middle.
                var index = random.Next(3) > 0 ? 0 : random.Next(expected.Count);
                var (place, job) = (expected.Keys[index], expected.Values[index]);
                gone.Add((place, job));
                expected.RemoveAt(index);
                Assert.That(line.Remove(job), Is.EqualTo(place));
            }
            else if (gone.Count > 0)
            {
                var (place, job) = gone[random.Next(gone.Count)];
                gone.RemoveAll(one => one.Place == place);
                expected.Add(place, job);
                line.Add(job, place);
            }

            if (step % 60 != 0)
                continue;
            var view = line.Now;
            var inOrder = expected.Values.Select(JobKey.Format).ToList();
            Assert.That(view.InOrder(), Is.EqualTo(inOrder));
            Assert.That(inOrder.Select(job => view.PositionOf(job)), Is.EqualTo(Enumerable.Range(1, inOrder.Count)));
            Assert.That(Enumerable.Range(1, view.Count).Select(view.At), Is.EqualTo(inOrder));
        }
    }

    [Test]
    public void Replace_MakesAStretchWhatItWasReadToBe()
    {
        const int seed = 12;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var line = new QueueIndex();
        for (var place = 1; place <= 3000; place++)
            line.Add(Job(place), place * 2);
        var expected = Enumerable.Range(1, 3000).ToDictionary(i => (long)i * 2, i => Job(i));
        for (var round = 0; round < 60; round++)
        {
            var after = random.Next(6000);
            var upTo = round % 7 == 0 ? long.MaxValue : after + random.Next(1500);
            foreach (var place in expected.Keys.Where(place => place > after && place <= upTo && random.Next(4) == 0).ToList())
                expected.Remove(place);
            for (var i = 0; i < 5 && upTo > after; i++)
                expected.TryAdd(after + 1 + random.Next((int)Math.Min(upTo - after, 500)), Job(100_000 + (round * 10) + i));
            var rows = expected.Where(entry => entry.Key > after && entry.Key <= upTo).OrderBy(entry => entry.Key)
                .Select(entry => new QueueRow(entry.Key, entry.Value, null)).ToList();

            line.Replace(after, upTo, rows);

            Assert.That(
                line.Now.InOrder(),
                Is.EqualTo(expected.OrderBy(entry => entry.Key).Select(entry => JobKey.Format(entry.Value))),
                $"round {round}");
        }
    }

    [Test]
    public void Add_KeepsTheFirstPlace_WhenAJobHasTwo()
    {
        var line = new QueueIndex();
        line.Add(Job(1), 10);
        line.Add(Job(2), 20);

        line.Add(Job(1), 30);
        line.Add(Job(2), 5);

        Assert.That(line.Now.InOrder(), Is.EqualTo(new[] { JobKey.Format(Job(2)), JobKey.Format(Job(1)) }));
    }

    [Test]
    public void View_KeepsItsPositions_WhenOthersJoinAndLeave()
    {
        var line = new QueueIndex();
        for (var i = 1; i <= 3; i++)
            line.Add(Job(i), i);
        var view = line.Now;

        line.Remove(Job(1));
        for (var i = 4; i < 1400; i++)
            line.Add(Job(i), i);

        Assert.Multiple(() =>
        {
            Assert.That(view.Count, Is.EqualTo(3));
            Assert.That(view.PositionOf(JobKey.Format(Job(3))), Is.EqualTo(3));
            Assert.That(view.PositionOf(JobKey.Format(Job(4))), Is.Null);
            Assert.That(view.At(2), Is.EqualTo(JobKey.Format(Job(2))));
            Assert.That(line.Now.PositionOf(JobKey.Format(Job(3))), Is.EqualTo(2));
        });
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
        Assert.That(new QueueIndex().Now.PositionOf(job), Is.Null);
    }

    private static Guid Job(int number) => JobKey.Of(number);
}
