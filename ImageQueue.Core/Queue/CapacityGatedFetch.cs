using Hangfire.Storage;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>Capacity before dequeue: a worker dequeues a job only while a healthy backend is free.</summary>
/// <remarks>
/// <para>The Hangfire server for images runs on a <see cref="CapacityGatedStorage"/>, whose connections fetch through this. One worker
/// at a time asks Hangfire for a job, and only while there is a free slot: a free backend that no dequeued job has reserved. When the
/// slot goes, because its backend went down or another request took it, the fetch is cancelled. So waiting requests stay in
/// Hangfire's queue, in order, visible to all; a process without a healthy backend, or paused (<see cref="Pauses"/>), dequeues
/// nothing.</para>
/// <para>A dequeued job is a <see cref="FetchedRequest"/>, which holds a reservation until it has a backend
/// (<see cref="FetchedRequest.AcquireAsync"/>). It claims its row when all that were dequeued before it have claimed theirs or have
/// stepped aside. What it does not use goes back when Hangfire has finished with the job.</para>
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
    private readonly Lock _lock = new();
    private readonly AsyncSignal _reservationReleased = new();
    private Task _earlierClaims = Task.CompletedTask;
    private long _turns;
    private int _reservations;
    private int _watchers;
    private bool _isFolderReported;
    private bool _isAsking;

    /// <summary>Free backends without a reservation; none while the queue is paused.</summary>
    private int FreeSlots => pauses.IsQueueStopped ? 0 : _pool.Available - Volatile.Read(ref _reservations);

    private Task NextChange => Task.WhenAny(_pool.NextChange, _reservationReleased.Next, pauses.NextChange);

    /// <summary>Whether a worker is asking Hangfire for a job.</summary>
    internal bool IsAsking
    {
        get => Volatile.Read(ref _isAsking);
        private set => Volatile.Write(ref _isAsking, value);
    }

    /// <summary>Tasks that watch a slot; for tests.</summary>
    internal int Watchers => Volatile.Read(ref _watchers);

    /// <summary>Waits for a free slot, then for a job.</summary>
    /// <exception cref="OperationCanceledException">The worker stops.</exception>
    internal FetchedRequest Fetch(IStorageConnection connection, string[] queues, CancellationToken stopping)
    {
        _gate.Wait(stopping);
        try
        {
            while (true)
            {
                stopping.ThrowIfCancellationRequested();
                WaitForFolder(stopping);
                using var slot = WaitForSlot(stopping);
                try
                {
                    IsAsking = true;
                    return Reserve(order.Fetch(connection, queues, slot.Token));
                }
                catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
                {
                    // The slot is gone. Hangfire would take a fetch that ends so for a worker's error.
                }
                finally
                {
                    IsAsking = false;
                    slot.Cancel(); // Ends its watcher, which disposing alone would leave waiting for good.
                }
            }
        }
        finally
        {
            _gate.Release();
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
        while (true)
        {
            var change = NextChange;
            if (FreeSlots > 0)
                break;
            change.Wait(stopping);
        }

        var slot = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        _ = WatchAsync(slot, slot.Token);
        return slot;
    }

    private async Task WatchAsync(CancellationTokenSource slot, CancellationToken token)
    {
        Interlocked.Increment(ref _watchers);
        try
        {
            while (!token.IsCancellationRequested)
            {
                var change = NextChange;
                if (FreeSlots <= 0)
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

    /// <summary>Reserves a slot for a dequeued job, and its turn to claim.</summary>
    internal FetchedRequest Reserve(IFetchedJob job)
    {
        Interlocked.Increment(ref _reservations);
        lock (_lock)
        {
            var request = new FetchedRequest(this, job, ++_turns, _earlierClaims);
            _earlierClaims = request.ClaimedOrGone;
            return request;
        }
    }

    /// <summary>A dequeued job with its reservation. Hangfire's connection disposes of it when the worker has finished.</summary>
    internal sealed class FetchedRequest : IDisposable
    {
        private readonly CapacityGatedFetch _fetch;
        private readonly TaskCompletionSource _steppedAside = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _hasReservation = 1;

        public FetchedRequest(CapacityGatedFetch fetch, IFetchedJob job, long turn, Task earlierClaims)
        {
            _fetch = fetch;
            Job = job;
            Turn = turn;
            EarlierClaims = earlierClaims;
            ClaimedOrGone = Task.WhenAll(earlierClaims, _steppedAside.Task);
        }

        /// <summary>As Hangfire returned it.</summary>
        public IFetchedJob Job { get; }

        /// <summary>Rises in the order of the fetches.</summary>
        public long Turn { get; }

        /// <summary>Completes when all jobs dequeued before have claimed their rows or stepped aside.</summary>
        public Task EarlierClaims { get; }

        internal Task ClaimedOrGone { get; }

        /// <summary>Takes the backend that suits the request best.</summary>
        /// <returns>
        /// Null when no backend is healthy and in use: the job belongs back into its place. While some are, it waits for one, before all
        /// jobs that were dequeued later.
        /// </returns>
        /// <exception cref="ForgeException">No configured backend can ever meet the requirements.</exception>
        public async Task<BackendReservation?> AcquireAsync(BackendRequirements requirements, CancellationToken cancellationToken)
        {
            try
            {
                if (_fetch._pool.TryTake(requirements) is { } lease)
                    return lease;

                // A job with a backend must not wait for one without.
                StepAside();
                return _fetch._pool.IsAnyUsable ? await WaitAsync(requirements, cancellationToken) : null;
            }
            finally
            {
                ReleaseReservation();
            }
        }

        /// <summary>Lets the jobs dequeued later claim their rows.</summary>
        public void StepAside() => _steppedAside.TrySetResult();

        /// <summary>
        /// Returns the job to its place; the worker should then drop it (<see cref="Hangfire.Server.JobAbortedException"/>).
        /// </summary>
        public bool TryGiveBack(string why) => _fetch._jobs.TryGiveBack(Job.JobId, Job, why);

        public void Dispose()
        {
            StepAside();
            ReleaseReservation();
        }

        /// <summary>Waits among the pool's waiters until it is served, or until no backend is healthy and in use.</summary>
        private async Task<BackendReservation?> WaitAsync(BackendRequirements requirements, CancellationToken cancellationToken)
        {
            using var outage = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            ReleaseReservation(); // From here on the pool counts it among its waiters.
            var acquiring = _fetch._pool.AcquireAsync(Turn, requirements, outage.Token);
            while (!acquiring.IsCompleted)
            {
                var change = _fetch._pool.NextChange;
                if (!_fetch._pool.IsAnyUsable)
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

        private void ReleaseReservation()
        {
            if (Interlocked.Exchange(ref _hasReservation, 0) == 0)
                return;
            Interlocked.Decrement(ref _fetch._reservations);
            _fetch._reservationReleased.Raise();
        }
    }
}
