using System.Reflection;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace ImageQueue.Tests.Queue;

/// <summary>One process's view of the queue: its order, and Hangfire beneath it.</summary>
internal sealed class QueueHost : IDisposable
{
    private readonly IStorageConnection _connection;
    private readonly string[] _queues;

    public QueueHost(
        JobStorage storage, FakeTimeProvider time, IQueueRows? rows = null, int pageSize = 5000, QueueOrder order = QueueOrder.Fifo)
    {
        _queues = ImageJobs.QueuesOf(order, areVolatile: rows is null);
        Storage = storage;
        Time = time;
        Order = rows is null
            ? new InMemoryQueueOrder(storage, time, order)
            : new SqlServerQueueOrder(rows, time, NullLogger<SqlServerQueueOrder>.Instance, order) { PageSize = pageSize };
        Client = new BackgroundJobClient(storage, new JobFilters([new QueueOrderFilter(Order)]));
        Jobs = new ImageJobs(Client, storage, Order, time);
        _connection = storage.GetConnection();
    }

    public JobStorage Storage { get; }

    public FakeTimeProvider Time { get; }

    public IQueueOrder Order { get; }

    public BackgroundJobClient Client { get; }

    public ImageJobs Jobs { get; }

    public static JobStorage InMemory() => new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid });

    public static FakeTimeProvider Clock() => new(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));

    public QueueSnapshot Snapshot() => Order.GetAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult();

    /// <summary>Takes the next job that will run, as a worker does.</summary>
    public IFetchedJob Fetch()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            var job = Order.Fetch(_connection, _queues, timeout.Token);
            if (_connection.GetStateData(job.JobId).Name == EnqueuedState.StateName)
                return job;
            job.RemoveFromQueue(); // A deleted job's.
            job.Dispose();
        }
    }

    /// <summary>What a worker does to a job that it has taken, before it runs it.</summary>
    public void Begin(string job) => Client.ChangeState(job, NewProcessingState(), expectedState: null);

    public void Succeed(string job) => Client.ChangeState(job, new SucceededState(null, 0, 0), expectedState: null);

    /// <summary>What an operator does in the dashboard.</summary>
    public void Requeue(string job) => Client.ChangeState(job, new EnqueuedState(ImageJobs.QueueName), expectedState: null);

    /// <summary>A job that the order does not hear of, as another machine enqueues it.</summary>
    public string EnqueueSilently(long messageId) => new BackgroundJobClient(Storage).Create(
        Job.FromExpression<IImageJob>(job => job.RunAsync(messageId, null!, CancellationToken.None), ImageJobs.QueueName),
        new EnqueuedState(ImageJobs.QueueName));

    public void Dispose() => _connection.Dispose();

    /// <summary>Hangfire makes it for its own workers only.</summary>
    private static IState NewProcessingState() => (IState)Activator.CreateInstance(
        typeof(ProcessingState), BindingFlags.Instance | BindingFlags.NonPublic, null, ["server", "worker"], null)!;
}
