using Hangfire;
using Hangfire.Common;
using Hangfire.SqlServer;
using Hangfire.States;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages.SqlServer;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The order read from Hangfire's tables, against what Hangfire itself does with them, where a server is given.</summary>
[SqlServerFixture]
public sealed class SqlServerQueueOrderTests
{
    private SqlServerStoreDatabase _database = null!;
    private SqlServerStorage _storage = null!;
    private BackgroundJobClient _client = null!;
    private SqlServerQueueOrder _order = null!;

    /// <summary>An empty queue.</summary>
    [SetUp]
    public async Task CreateAsync()
    {
        _database = await SqlServerStoreDatabase.CreateAsync();
        var database = new SqlServerDatabase(_database.ConnectionString, applySchema: false, NullLogger.Instance);
        _storage = new SqlServerStorage(database.ConnectionString, database.HangfireOptions);
        _client = new BackgroundJobClient(_storage);
        _order = new SqlServerQueueOrder(database.Connections, TimeSpan.FromMinutes(5), NullLogger.Instance);
    }

    /// <summary>Gone again.</summary>
    [TearDown]
    public async Task DropAsync()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }

    /// <summary>First in, first out; other queues do not count.</summary>
    [Test]
    public async Task ReadOrder_IsTheOrderOfEnqueueing()
    {
        var jobs = Enumerable.Range(1, 5).Select(i => Enqueue(i)).ToList();
        _client.Create(Job.FromExpression<GenerateImageJob>(job => job.RunAsync(9, null!, CancellationToken.None)), new EnqueuedState("other"));

        Assert.That(await _order.ReadOrderAsync(default), Is.EqualTo(jobs));
    }

    /// <summary>A deleted job's row stays until it is dequeued (Hangfire #2407); a requeued job has two (#2380).</summary>
    [Test]
    public async Task ReadOrder_PassesOverGhosts_AndCountsAJobOnce()
    {
        var jobs = Enumerable.Range(1, 4).Select(i => Enqueue(i)).ToList();
        _client.Delete(jobs[1]);
        _client.Requeue(jobs[0]);

        Assert.That(await _order.ReadOrderAsync(default), Is.EqualTo(new[] { jobs[0], jobs[2], jobs[3] }));
    }

    /// <summary>What a worker holds does not wait; what it gives back has its old place.</summary>
    [Test]
    public async Task ReadOrder_PassesOverFetchedJobs_UntilTheyAreGivenBack()
    {
        var jobs = Enumerable.Range(1, 3).Select(i => Enqueue(i)).ToList();
        using var connection = _storage.GetConnection();
        using (var fetched = connection.FetchNextJob([ImageJobs.QueueName], CancellationToken.None))
        {
            Assert.That(fetched.JobId, Is.EqualTo(jobs[0]), "Hangfire fetches in the order that is shown");
            Assert.That(await _order.ReadOrderAsync(default), Is.EqualTo(jobs.Skip(1)));
            fetched.Requeue();
        }

        Assert.That(await _order.ReadOrderAsync(default), Is.EqualTo(jobs));
    }

    /// <summary>A dead worker's job comes back by itself.</summary>
    [Test]
    public async Task ReadOrder_CountsAJobAgain_WhenItsWorkerIsSilentForTooLong()
    {
        var job = Enqueue(1);
        await _database.ExecuteAsync("UPDATE HangFire.JobQueue SET FetchedAt = DATEADD(minute, -6, GETUTCDATE());");

        Assert.That(await _order.ReadOrderAsync(default), Is.EqualTo(new[] { job }));
    }

    private string Enqueue(long messageId) => _client.Create(
        Job.FromExpression<GenerateImageJob>(job => job.RunAsync(messageId, null!, CancellationToken.None), ImageJobs.QueueName),
        new EnqueuedState(ImageJobs.QueueName));
}
