using System.Reflection;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace ImageQueue.Tests.Queue;

/// <summary>What one process has of the queue, on a job storage that others may share.</summary>
internal sealed class QueueHost
{
    public QueueHost(JobStorage storage, FakeTimeProvider time, IQueueReader? reader = null)
    {
        Storage = storage;
        Time = time;
        Held = new HeldJobs(time);
        Order = new QueueOrder(reader ?? new PagingQueueReader(storage), storage, Held, time, NullLogger<QueueOrder>.Instance);
        Client = new BackgroundJobClient(storage, new JobFilters([new QueueWatch(Order, Held)]));
        Jobs = new ImageJobs(Client, storage, Order);
    }

    public JobStorage Storage { get; }

    public FakeTimeProvider Time { get; }

    public HeldJobs Held { get; }

    public QueueOrder Order { get; }

    public BackgroundJobClient Client { get; }

    public ImageJobs Jobs { get; }

    public static JobStorage InMemory() => new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid });

    public static FakeTimeProvider Clock() => new(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));

    public QueueSnapshot Snapshot()
    {
        var snapshot = Order.GetAsync(CancellationToken.None);
        return snapshot.IsCompleted ? snapshot.Result : snapshot.AsTask().GetAwaiter().GetResult();
    }

    /// <summary>What a worker does to a job that it has taken, before it runs it.</summary>
    public void Begin(string job) => Client.ChangeState(job, NewProcessingState(), expectedState: null);

    public void Succeed(string job) => Client.ChangeState(job, new SucceededState(null, 0, 0), expectedState: null);

    /// <summary>What an operator does in the dashboard.</summary>
    public void Requeue(string job) => Client.ChangeState(job, new EnqueuedState(ImageJobs.QueueName), expectedState: null);

    /// <summary>A job that nobody told the order of.</summary>
    public string EnqueueSilently(long messageId) => new BackgroundJobClient(Storage).Create(
        Job.FromExpression<GenerateImageJob>(job => job.RunAsync(messageId, null!, CancellationToken.None), ImageJobs.QueueName),
        new EnqueuedState(ImageJobs.QueueName));

    /// <summary>Hangfire makes it for its own workers only.</summary>
    private static IState NewProcessingState() => (IState)Activator.CreateInstance(
        typeof(ProcessingState), BindingFlags.Instance | BindingFlags.NonPublic, null, ["server", "worker"], null)!;
}
