using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Startup;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>A database that is not there yet, that comes back, or that is the wrong one.</summary>
[TestFixture]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Category(Categories.Fast)]
public sealed class DatabaseStartTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly DatabaseReadiness _readiness = new();
    private readonly Mock<IHostApplicationLifetime> _lifetime = new();
    private readonly LogRecorder _log = new();

    /// <inheritdoc/>
    public void Dispose() => _log.Dispose();

    /// <summary>The ordinary case.</summary>
    [Test]
    public async Task Starting_IsReady_WhenTheDatabaseAnswers()
    {
        var database = Database(mayComeBack: true, () => { });
        using var start = Start(database);

        await start.StartingAsync(default);

        Assert.That(_readiness.Ready.IsCompleted);
        database.Verify(d => d.PrepareAsync(It.IsAny<CancellationToken>()), Times.Once);
        Assert.That(_log.Of(LogLevel.Information), Is.Empty);
    }

    /// <summary>Down at start: one line, then one when it is back, and jobs start.</summary>
    [Test]
    public async Task Starting_WaitsInTheBackground_UntilTheServerIsBack()
    {
        var isUp = false;
        using var start = Start(Database(mayComeBack: true, () =>
        {
            if (!isUp)
                throw Unavailable("cannot be reached");
        }));

        await start.StartingAsync(default);
        await PassAsync(TimeSpan.FromSeconds(50));
        Assert.That(_readiness.Ready.IsCompleted, Is.False);
        Assert.That(_log.Of(LogLevel.Warning).Count(), Is.EqualTo(1), "the same trouble is said once");
        isUp = true;
        await PassAsync(TimeSpan.FromSeconds(11));

        Assert.That(_readiness.Ready.IsCompleted);
        Assert.That(_log.Of(LogLevel.Information).Last(), Does.Contain("is available; starting jobs"));
    }

    /// <summary>Another trouble is worth another line, and the same one a reminder now and then.</summary>
    [Test]
    public async Task Starting_SaysAgain_WhenTheTroubleIsAnother_OrLasts()
    {
        var trouble = "cannot be reached";
        using var start = Start(Database(mayComeBack: true, () => throw Unavailable(trouble)));

        await start.StartingAsync(default);
        trouble = "refuses the login";
        await PassAsync(TimeSpan.FromSeconds(5));
        Assert.That(_log.Of(LogLevel.Warning).Count(), Is.EqualTo(2));
        await PassAsync(TimeSpan.FromMinutes(3));

        Assert.That(_log.Of(LogLevel.Warning).Count(), Is.InRange(4, 5));
        await start.StoppingAsync(default);
        await start.StopAsync(default);
    }

    /// <summary>A local file that cannot be opened is a mistake to say at once.</summary>
    [Test]
    public void Starting_Throws_WhenTheDatabaseIsLocal()
    {
        using var start = Start(Database(mayComeBack: false, () => throw Unavailable("cannot be opened")));

        Assert.That(() => start.StartingAsync(default), Throws.TypeOf<StoreUnavailableException>());
    }

    /// <summary>The wrong tables stop the start, whenever they are seen.</summary>
    [Test]
    public async Task Starting_StopsTheApp_WhenTheServerComesBackWithoutTables()
    {
        var isUp = false;
        using var start = Start(
            Database(
                mayComeBack: true,
                () => throw (isUp ? new SchemaException("lacks table dbo.messages") : Unavailable("cannot be reached"))));

        await start.StartingAsync(default);
        isUp = true;
        await PassAsync(TimeSpan.FromSeconds(11));

        _lifetime.Verify(lifetime => lifetime.StopApplication(), Times.Once);
        Assert.That(() => start.StopAsync(default), Throws.TypeOf<SchemaException>(), "which ends the process as at the start");
        Assert.That(_log.Of(LogLevel.Critical).Single(), Does.EndWith("ImageQueue stops: lacks table dbo.messages"));
        Assert.That(_readiness.Ready.IsCompleted, Is.False);
    }

    /// <summary>.NET ends a process whose service throws at a stop with exit code 134.</summary>
    [Test]
    public async Task Stop_ThrowsNothing_WhenTheHostWaitsNoLonger()
    {
        var never = new TaskCompletionSource();
        var database = Database(mayComeBack: true, () => throw Unavailable("cannot be reached"));
        using var start = Start(database);
        await start.StartingAsync(default);
        database.Setup(d => d.PrepareAsync(It.IsAny<CancellationToken>())).Returns(never.Task);
        await PassAsync(TimeSpan.FromSeconds(2));

        await start.StoppingAsync(default);
        await start.StopAsync(new CancellationToken(canceled: true));

        Assert.That(_readiness.Ready.IsCompleted, Is.False);
    }

    /// <summary>A start that cannot succeed ends with a sentence and exit code 1.</summary>
    [Test]
    public async Task Explain_GivesExitCodeOne_WhenTheStartCannotSucceed()
    {
        Assert.That(await StartFailure.ExplainAsync(() => throw new SchemaException("x")), Is.EqualTo(1));
        Assert.That(await StartFailure.ExplainAsync(() => throw new StorageSettingsException("x")), Is.EqualTo(1));
        Assert.That(await StartFailure.ExplainAsync(() => Task.FromResult(0)), Is.Zero);
        Assert.That(
            () => StartFailure.ExplainAsync(() => throw new InvalidTimeZoneException()),
            Throws.TypeOf<InvalidTimeZoneException>(),
            "a mistake of ours keeps its stack");
    }

    private DatabaseStart Start(Mock<IMessageDatabase> database) =>
        new(database.Object, _readiness, _lifetime.Object, _time, new LoggerFactory([_log]).CreateLogger<DatabaseStart>());

    private static Mock<IMessageDatabase> Database(bool mayComeBack, Action prepare)
    {
        var database = new Mock<IMessageDatabase>();
        database.Setup(d => d.MayComeBack).Returns(mayComeBack);
        database.Setup(d => d.Location).Returns("ImageQueue on db1");
        database.Setup(d => d.PrepareAsync(It.IsAny<CancellationToken>())).Returns(() =>
        {
            prepare();
            return Task.CompletedTask;
        });
        return database;
    }

    private static StoreUnavailableException Unavailable(string what) => new($"The message database {what}.", new TimeoutException("why"));

    private async Task PassAsync(TimeSpan time)
    {
        var step = TimeSpan.FromSeconds(Math.Clamp(time.TotalSeconds / 40, 1, 5));
        for (var passed = TimeSpan.Zero; passed < time; passed += step)
        {
            _time.Advance(step);
            await Task.Delay(5);
        }
    }
}
