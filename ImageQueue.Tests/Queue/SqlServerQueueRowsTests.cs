using Hangfire;
using Hangfire.Common;
using Hangfire.SqlServer;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The queue's rows in Hangfire's tables, against what Hangfire itself does with them, where a server is given.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
public sealed class SqlServerQueueRowsTests
{
    private static readonly string[] Queues = [ImageJobs.QueueName];

    private SqlServerStoreDatabase _database = null!; // All set before each test.
    private QueueHost _host = null!;
    private SqlServerQueueRows _rows = null!;

    /// <summary>An empty queue.</summary>
    [SetUp]
    public async Task CreateAsync()
    {
        _database = await SqlServerStoreDatabase.CreateAsync();
        var database = new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance);
        var storage = new SqlServerStorage(database.ConnectionString, database.HangfireOptions);
        _rows = new SqlServerQueueRows(database.Connections, TimeSpan.FromMinutes(5), storage, NullLogger.Instance);
        _host = new QueueHost(storage, QueueHost.Clock(), _rows);
    }

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DropAsync()
    {
        _host?.Dispose();
        if (_database is not null)
            await _database.DisposeAsync();
    }

    /// <summary>First in, first out; other queues do not count.</summary>
    [Test]
    public async Task Read_IsTheOrderOfEnqueueing_PageByPage()
    {
        var jobs = Enumerable.Range(1, 5).Select(i => _host.EnqueueSilently(i)).ToList();
        _host.Client.Create(
            Job.FromExpression<IImageJob>(job => job.RunAsync(9, null!, CancellationToken.None)), new EnqueuedState("other"));

        var first = await _rows.ReadAsync(0, long.MaxValue, 3, default);
        var last = await _rows.ReadAsync(first.UpTo, long.MaxValue, 3, default);

        Assert.That(Ids(first).Concat(Ids(last)), Is.EqualTo(jobs));
        Assert.That((first.IsLast, last.IsLast), Is.EqualTo((false, true)));
    }

    /// <summary>A deleted job's row stays until it is dequeued (Hangfire #2407); a requeued job has two (#2380).</summary>
    [Test]
    public async Task Read_PassesOverGhosts()
    {
        var jobs = Enumerable.Range(1, 4).Select(i => _host.EnqueueSilently(i)).ToList();
        _host.Client.Delete(jobs[1]);
        _host.Client.Requeue(jobs[0]);

        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)).Distinct(), Is.EqualTo(new[] { jobs[0], jobs[2], jobs[3] }));
    }

    /// <summary>What a worker holds does not wait; what it gives back has its old place, and so has what it was generating.</summary>
    [Test]
    public async Task Job_KeepsItsPlace_WhenItIsGivenBack()
    {
        var jobs = Enumerable.Range(1, 3).Select(i => _host.EnqueueSilently(i)).ToList();
        using var connection = _host.Storage.GetConnection();
        using var fetched = connection.FetchNextJob(Queues, CancellationToken.None);
        Assert.That(fetched.JobId, Is.EqualTo(jobs[0]), "Hangfire fetches in the order that is shown");
        _host.Begin(jobs[0]);
        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)), Is.EqualTo(jobs.Skip(1)));

        Assert.That(_host.Jobs.TryGiveBack(jobs[0], fetched, "no Forge is healthy"), Is.True);

        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)), Is.EqualTo(jobs));
        Assert.That(_host.Jobs.Find(jobs[0])!.Name, Is.EqualTo(EnqueuedState.StateName));
        fetched.RemoveFromQueue(); // As Hangfire's worker does when the job has left it: nothing is removed.
        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)), Is.EqualTo(jobs));
    }

    /// <summary>Seen before: position 201 of 201 after a crash.</summary>
    [Test]
    public async Task DeadWorkersJob_KeepsItsPlace_WhenSomebodyElseGivesItBack()
    {
        var jobs = Enumerable.Range(1, 3).Select(i => _host.EnqueueSilently(i)).ToList();
        using var connection = _host.Storage.GetConnection();
        using var dead = connection.FetchNextJob(Queues, CancellationToken.None);
        _host.Begin(jobs[0]);

        Assert.That(_host.Jobs.TryGiveBack(jobs[0], null, "its server died"), Is.True);

        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)), Is.EqualTo(jobs));
        Assert.That(_host.Jobs.TryGiveBack("4711", null, "there is no such job"), Is.False);
    }

    /// <summary>A dead worker's job comes back by itself.</summary>
    [Test]
    public async Task Read_CountsAJobAgain_WhenItsWorkerIsSilentForTooLong()
    {
        var job = _host.EnqueueSilently(1);
        await _database.ExecuteAsync("UPDATE HangFire.JobQueue SET FetchedAt = DATEADD(minute, -6, GETUTCDATE());");

        Assert.That(Ids(await _rows.ReadAsync(0, long.MaxValue, 10, default)), Is.EqualTo(new[] { job }));
    }

    private static IEnumerable<string> Ids(QueuePage page) => page.Rows.Select(row => JobKey.Format(row.Job));
}

/// <summary>The queue in Hangfire's tables, where a server is given.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
internal sealed class SqlServerQueueOrderContractTests : QueueOrderContract
{
    private SqlServerStoreDatabase? _database;

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DropAsync()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }

    private protected override async Task<IQueue> CreateAsync(QueueOrder order)
    {
        _database = await SqlServerStoreDatabase.CreateAsync();
        var database = new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance);
        var storage = new SqlServerStorage(database.ConnectionString, database.HangfireOptions);
        var rows = new SqlServerQueueRows(database.Connections, TimeSpan.FromMinutes(5), storage, NullLogger.Instance)
        {
            WithUsers = order == QueueOrder.FairShare,
        };
        return new Queue(
            new QueueHost(storage, QueueHost.Clock(), rows, order: order), new QueueHost(storage, QueueHost.Clock(), rows, order: order));
    }

    private sealed class Queue(QueueHost host, QueueHost other) : IQueue
    {
        public IQueueOrder Order => host.Order;

        public bool KeepsEntries => true;

        public string Enqueue(long messageId, string user) => host.Jobs.Enqueue(messageId, user);

        public void Cancel(string job) => host.Jobs.Delete(job);

        public void Requeue(string job) => host.Requeue(job);

        public IFetchedJob Begin()
        {
            var job = host.Fetch();
            host.Begin(job.JobId);
            return job;
        }

        public void Complete(IFetchedJob job)
        {
            host.Succeed(job.JobId);
            job.RemoveFromQueue();
        }

        public void GiveBack(IFetchedJob job) => Assert.That(host.Jobs.TryGiveBack(job.JobId, job, "the model says so"), Is.True);

        public Task SettleAsync() => ((SqlServerQueueOrder)host.Order).ReadNowAsync();

        public Task MovedAsync() => ((SqlServerQueueOrder)host.Order).Moves;

        public async Task<QueueSnapshot?> OtherAsync()
        {
            await ((SqlServerQueueOrder)other.Order).ReadNowAsync();
            return other.Snapshot();
        }

        public Task<bool> TryRestartAsync() => Task.FromResult(false);

        public void Dispose()
        {
            host.Dispose();
            other.Dispose();
        }
    }
}
