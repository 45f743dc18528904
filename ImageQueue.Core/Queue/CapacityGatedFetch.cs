using Hangfire.Storage;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Queue;

/// <summary>Capacity before dequeue: a worker dequeues a job only while a healthy backend is free.</summary>
/// <remarks>
/// <para>The Hangfire server for images runs on a <see cref="CapacityGatedStorage"/>, whose connections fetch through this. One worker
/// at a time asks Hangfire for a job, and only while a backend is free. When none is any more, because it went down or another request
/// took it, the fetch is cancelled. So waiting requests stay in Hangfire's queue, in order, visible to all; a process without a healthy
/// backend, or paused (<see cref="Pauses"/>), dequeues nothing.</para>
/// <para>A dequeued job is a <see cref="FetchedRequest"/>. Its worker keeps the gate until it has claimed the row or waits among the
/// pool's waiters: so the next is dequeued only when this one's backend is taken, and rows are claimed in the order of the queue.</para>
/// </remarks>
public sealed class CapacityGatedFetch(
    BackendPool pool, IImageStorage images, IQueueOrder order, ImageJobs jobs, Pauses pauses, ILogger<CapacityGatedFetch> logger)
    : IDisposable
{
    /// <summary>Time between two looks at an images folder that cannot be written.</summary>
    private static readonly TimeSpan FolderPause = TimeSpan.FromSeconds(2);

    private readonly BackendPool _pool = pool;
    private readonly ImageJobs _jobs = jobs;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private long _turns;
    private int _watchers;
    private bool _isFolderReported;

    /// <summary>Whether a backend is free, and the queue not paused.</summary>
    private bool HasSlot => !pauses.IsQueueStopped && _pool.Available > 0;

    private Task NextChange => Task.WhenAny(_pool.NextChange, pauses.NextChange);

    /// <summary>Tasks that watch a slot while a worker asks Hangfire for a job; for tests.</summary>
    internal int Watchers => Volatile.Read(ref _watchers);

    /// <summary>Waits for the gate and a free backend, then for a job, which keeps the gate.</summary>
    /// <exception cref="OperationCanceledException">The worker stops.</exception>
    internal FetchedRequest Fetch(IStorageConnection connection, string[] queues, CancellationToken stopping) =>
        Fetch(() => FetchWhenFree(connection, queues, stopping), stopping);

    internal FetchedRequest Fetch(Func<IFetchedJob> dequeue, CancellationToken stopping)
    {
        _gate.Wait(stopping);
        try
        {
            return new FetchedRequest(this, dequeue(), ++_turns);
        }
        catch
        {
            _gate.Release();
            throw;
        }
    }

    private IFetchedJob FetchWhenFree(IStorageConnection connection, string[] queues, CancellationToken stopping)
    {
        while (true)
        {
            stopping.ThrowIfCancellationRequested();
            WaitForFolder(stopping);
            using var slot = WaitForSlot(stopping);
            try
            {
                return order.Fetch(connection, queues, slot.Token);
            }
            catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
            {
                // The slot is gone. Hangfire would take a fetch that ends so for a worker's error.
            }
            finally
            {
                slot.Cancel(); // Ends its watcher, which disposing alone would leave waiting for good.
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    /// <summary>An image that cannot be stored costs minutes of a GPU for nothing.</summary>
    private void WaitForFolder(CancellationToken stopping)
    {
        while (images.WhyNotWritable() is { } why)
        {
            if (!_isFolderReported)
                logger.LogError("Dequeuing paused: {Reason}", why);
            _isFolderReported = true;
            stopping.WaitHandle.WaitOne(FolderPause);
            stopping.ThrowIfCancellationRequested();
        }

        if (_isFolderReported)
            logger.LogInformation("Dequeuing resumed: the images folder can be written.");
        _isFolderReported = false;
    }

    /// <returns>Its token is cancelled when there is no free slot any more.</returns>
    private CancellationTokenSource WaitForSlot(CancellationToken stopping)
    {
        for (var change = NextChange; !HasSlot; change = NextChange)
            change.Wait(stopping);
        var slot = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        _ = WatchAsync(slot, slot.Token);
        return slot;
    }

    private async Task WatchAsync(CancellationTokenSource slot, CancellationToken token)
    {
        Interlocked.Increment(ref _watchers);
        try
        {
            for (var change = NextChange; !token.IsCancellationRequested; change = NextChange)
            {
                if (!HasSlot)
                {
                    await slot.CancelAsync();
                    return;
                }

                await change.WaitAsync(token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        catch (ObjectDisposedException)
        {
            // The fetch has ended.
        }
        finally
        {
            Interlocked.Decrement(ref _watchers);
        }
    }

    /// <summary>A dequeued job. Hangfire's connection disposes of it when the worker has finished.</summary>
    internal sealed class FetchedRequest(CapacityGatedFetch fetch, IFetchedJob job, long turn) : IDisposable
    {
        private int _hasGate = 1;

        /// <summary>As Hangfire returned it.</summary>
        public IFetchedJob Job { get; } = job;

        /// <summary>Takes the backend that suits the request best.</summary>
        /// <returns>
        /// Null when no backend is healthy and in use: the job belongs back into its place. While some are, it waits for one, before all
        /// jobs that were dequeued later.
        /// </returns>
        /// <exception cref="ForgeException">No configured backend can ever meet the requirements.</exception>
        public async Task<BackendReservation?> AcquireAsync(BackendRequirements requirements, CancellationToken cancellationToken) =>
            fetch._pool.TryTake(requirements) is { } reservation ? reservation
                : fetch._pool.IsAnyUsable ? await WaitAsync(requirements, cancellationToken)
                : null;

        /// <summary>Lets the next job be dequeued. Later calls do nothing.</summary>
        public void LeaveGate()
        {
            if (Interlocked.Exchange(ref _hasGate, 0) == 1)
                fetch._gate.Release();
        }

        /// <summary>
        /// Returns the job to its place; the worker should then drop it (<see cref="Hangfire.Server.JobAbortedException"/>).
        /// </summary>
        public bool TryGiveBack(string why) => fetch._jobs.TryGiveBack(Job.JobId, Job, why);

        public void Dispose() => LeaveGate();

        /// <summary>Waits among the pool's waiters until it is served, or until no backend is healthy and in use.</summary>
        private async Task<BackendReservation?> WaitAsync(BackendRequirements requirements, CancellationToken cancellationToken)
        {
            using var outage = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var acquiring = fetch._pool.AcquireAsync(turn, requirements, outage.Token);
            LeaveGate(); // A job with a backend must not wait for one without.
            while (!acquiring.IsCompleted)
            {
                var change = fetch._pool.NextChange;
                if (!fetch._pool.IsAnyUsable)
                    await outage.CancelAsync();
                await Task.WhenAny(acquiring, change);
            }

            try
            {
                return await acquiring;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return null;
            }
        }
    }
}
