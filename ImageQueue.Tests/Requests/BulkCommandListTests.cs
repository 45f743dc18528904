using Hangfire;
using Hangfire.InMemory;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>Which commands are listed, and in which order.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class BulkCommandListTests
{
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));

    [Test]
    public void List_IsNewestFirst_AndForgetsACommandThatWasStoppedBeforeItBegan()
    {
        using var storage = new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Long });
        var commands = new BulkCommands(new BackgroundJobClient(storage), storage, _time);
        var started = new List<string>(); // Numbers as on SQL Server, up to 12.
        for (var i = 0; i < 12; i++)
        {
            started.Add(commands.Start(BulkVerb.Cancel, new RequestSearch([MessageStatus.Queued]), "an operator/of night"));
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.That(commands.List().Select(command => command.Id), Is.EqualTo(started.AsEnumerable().Reverse()));
        Assert.That(commands.List().Select(command => command.By), Is.All.EqualTo("an operator/of night"));

        commands.Stop(started[0]);
        Assert.That(commands.List(), Has.Count.EqualTo(12));
        _time.Advance(TimeSpan.FromMinutes(11));
        Assert.That(commands.List().Select(command => command.Id), Does.Not.Contain(started[0]).And.Contain(started[1]));
    }
}
