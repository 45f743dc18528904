using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using NUnit.Framework;
using static ImageQueue.Tests.Generation.BlameSimulation;

namespace ImageQueue.Tests.Generation;

/// <summary>No request is charged for a bad backend, and no backend and no other request for a bad request.</summary>
[Category(Categories.Fast)]
internal sealed class BlameTests
{
    private static readonly TimeSpan Forever = TimeSpan.FromDays(1);

    private static readonly FailurePolicy Policy = new(
        new MessageTexts(Options.Create(new MessagesOptions())), Options.Create(new ForgeOptions()));

    [Test]
    public void InnocentsComplete_PoisonEnds_AndNoGoodBackendIdles_OverRandomFaults()
    {
        var (requests, disruptions) = (0, 0);
        for (var seed = 1; seed <= 2000; seed++)
        {
            var (simulation, servers) = Make(new Random(seed));

            simulation.Run(Forever);

            Assert.Multiple(() =>
            {
                foreach (var request in simulation.Requests)
                {
                    var expected = request.Poison == Poison.None ? MessageStatus.Complete : MessageStatus.Error;
                    Assert.That(request.Status, Is.EqualTo(expected), $"seed {seed}, request {request.Id}, {request.Poison}");
                    Assert.That(request.Disruptions, Is.LessThanOrEqualTo(3), $"seed {seed}, request {request.Id}");
                }

                foreach (var server in servers.Where(server => server.Own.Fault == Fault.None))
                    Assert.That(server.IdleWhileOthersWait, Is.LessThanOrEqualTo(server.ExcusedIdleTime), $"seed {seed}, {server.Name}");
            });
            requests += simulation.Requests.Count;
            disruptions += simulation.Requests.Sum(request => request.Disruptions);
        }

        TestContext.Out.WriteLine($"{requests} requests, {disruptions} disruptions charged");
    }

    /// <summary>Each of the roads by which one request used to stop the queue, in images' time.</summary>
    [Test]
    public void InnocentsComplete_WithinTheirOwnTimeAndThreeImages_BesideAPoisonRequest([Values] Poison poison, [Values(1, 2)] int backends)
    {
        var image = TimeSpan.FromSeconds(20);
        var servers = Enumerable.Range(1, backends).Select(number => new Server($"gpu{number}")).ToList();
        var requests = Enumerable.Range(1, 8)
            .Select(id => new Request(id, id == 1 ? poison : Poison.None, image) { Downtime = TimeSpan.FromSeconds(2) })
            .ToList();
        var simulation = new BlameSimulation(Policy, servers, requests);
        var started = simulation.Now;

        simulation.Run(((7 + 3) * image) + TimeSpan.FromSeconds(15)); // Three canaries and restarts.

        Assert.That(requests.Skip(1).Select(request => request.Status), Is.All.EqualTo(MessageStatus.Complete));
        simulation.Run(Forever);
        Assert.That(requests[0].Status, Is.EqualTo(poison == Poison.None ? MessageStatus.Complete : MessageStatus.Error));
    }

    [TestCase(Fault.FailsAll)]
    [TestCase(Fault.BreaksOff)]
    [TestCase(Fault.Refuses)]
    [TestCase(Fault.Dead)]
    public void LoneBackendThatFailsEverything_ChargesNoRequest_AndTheQueueGoesOnWhenItIsMended(Fault fault)
    {
        var server = new Server("gpu1") { Own = (fault, TimeSpan.Zero, TimeSpan.FromMinutes(30)) };
        var requests = Enumerable.Range(1, 18).Select(id => new Request(id, Poison.None, TimeSpan.FromSeconds(5))).ToList();
        var simulation = new BlameSimulation(Policy, [server], requests);

        simulation.Run(TimeSpan.FromMinutes(29));
        Assert.That(requests.Select(request => (request.Status, request.Disruptions)), Is.All.EqualTo(("queued", 0)));
        Assert.That(requests.Sum(request => request.Failures), Is.LessThanOrEqualTo(1), "the first failure alone, before the canary");

        simulation.Run(Forever);
        Assert.That(requests.Select(request => request.Status), Is.All.EqualTo(MessageStatus.Complete));
    }

    /// <summary>
    /// Any of the backends but one may have a fault for ever; one may have a fault that ends. A fault that ends between a disruption and
    /// its
    /// canary cannot be told from the request's own: a request survives one such, so there is one such at most.
    /// </summary>
    private static (BlameSimulation Simulation, List<Server> Servers) Make(Random random)
    {
        var servers = new List<Server>();
        for (var number = random.Next(1, 5); number > 0; number--)
        {
            var from = TimeSpan.FromSeconds(random.Next(0, 120));
            var own = servers.Count switch
            {
                0 when random.Next(3) > 0 =>
                    (Pick(random, Fault.Dead, Fault.Refuses, Fault.BreaksOff), from, from + TimeSpan.FromSeconds(random.Next(1, 300))),
                0 => (Fault.None, TimeSpan.Zero, TimeSpan.Zero),
                _ when random.Next(2) > 0 => (Pick(random, Fault.Dead, Fault.Refuses, Fault.BreaksOff, Fault.FailsAll), from, Forever),
                _ => (Fault.None, TimeSpan.Zero, TimeSpan.Zero),
            };
            servers.Add(new Server($"gpu{servers.Count + 1}") { Own = own });
        }

        var requests = Enumerable.Range(1, random.Next(4, 20)).Select(id => new Request(
            id,
            random.Next(4) == 0
                ? Pick(random, Poison.KillsTheServer, Poison.BreaksOff, Poison.OutlastsTheProxy, Poison.Fails)
                : Poison.None,
            TimeSpan.FromSeconds(random.Next(1, 30)))
        {
            Downtime = TimeSpan.FromSeconds(random.Next(0, 90)),
        });
        return (new BlameSimulation(Policy, servers, requests), servers);
    }

    private static T Pick<T>(Random random, params T[] values) => values[random.Next(values.Length)];
}
