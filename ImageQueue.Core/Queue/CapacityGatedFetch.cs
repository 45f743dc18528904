using Hangfire.Storage;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Forge first, then the job: how the workers of the image server get their jobs. The whole path from the fetch to the claim is
/// told here.
/// </summary>
/// <remarks>
/// <para>Hangfire's server for images runs on a <see cref="CapacityGatedStorage"/>, whose connections fetch through this. One worker
/// at a time asks Hangfire for a job, and only while a Forge is free that no other job was promised (an <em>offer</em>). When
/// that Forge goes down, or a request whose server died needs it, the offer is withdrawn and the fetch with it. So what waits
/// stays in Hangfire's queue, in order, for all to see; a process without a healthy Forge, or in a pause (<see cref="Pauses"/>), takes nothing.</para>
/// <para>A job that has come is a <see cref="FetchedRequest"/> with its turn. It takes the Forge that suits it best
/// (<see cref="FetchedRequest.AcquireAsync"/>), and claims its row when all that were fetched before it have claimed theirs, or
/// have stepped aside. What it does not use goes back when Hangfire is done with the job: the job to its place, the Forge to
/// the next offer.</para>
/// </remarks>
public sealed class CapacityGatedFetch(
    BackendPool pool, IImageStorage images, IQueueOrder order, ImageJobs jobs, Pauses pauses, ILogger<CapacityGatedFetch> logger) : IDisposable
{
    /// <summary>How long before a folder that could not be written is tried again.</summary>
    private static readonly TimeSpan FolderPause = TimeSpan.FromSeconds(2);

    private readonly BackendPool _pool = pool;
    private readonly ImageJobs _jobs = jobs;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly Lock _lock = new();
    private readonly AsyncSignal _unpromised = new();
    private Task _earlierClaims = Task.CompletedTask;
    private long _turns;
    private int _promised;
    private bool _toldOfFolder;
    private bool _isAsking;

    /// <summary>Free Forges that are promised to nobody; none while an operator has stopped the queue.</summary>
    private int Offers => pauses.IsQueueStopped ? 0 : _pool.Available - Volatile.Read(ref _promised);

    private Task NextChange => Task.WhenAny(_pool.NextChange, _unpromised.Next, pauses.NextChange);

    /// <summary>Whether a worker is asking Hangfire for a job just now.</summary>
    internal bool IsAsking
    {
        get => Volatile.Read(ref _isAsking);
        private set => Volatile.Write(ref _isAsking, value);
    }

    /// <summary>Waits for a free healthy Forge, then for a job.</summary>
    /// <exception cref="OperationCanceledException">The worker stops.</exception>
    internal FetchedRequest Fetch(IStorageConnection connection, string[] queues, CancellationToken stopping)
    {
        _one.Wait(stopping);
        try
        {
            while (true)
            {
                stopping.ThrowIfCancellationRequested();
                WaitForFolder(stopping);
                using var offer = WaitForOffer(stopping);
                try
                {
                    IsAsking = true;
                    return Take(order.Fetch(connection, queues, offer.Token));
                }
                catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
                {
                    // The offer was withdrawn. To Hangfire a fetch that ends so would be a worker's error.
                }
                finally
                {
                    IsAsking = false;
                }
            }
        }
        finally
        {
            _one.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _one.Dispose();

    /// <summary>Room and rights are looked at before anything is generated: an image that cannot be stored is minutes of GPU for nothing.</summary>
    private void WaitForFolder(CancellationToken stopping)
    {
        while (images.WhyNotWritable() is { } why)
        {
            if (!_toldOfFolder)
                logger.LogError("No image is begun: {Why} Requests wait until that is put right.", why);
            _toldOfFolder = true;
            stopping.WaitHandle.WaitOne(FolderPause);
            stopping.ThrowIfCancellationRequested();
        }

        if (_toldOfFolder)
            logger.LogInformation("The images folder can be written again.");
        _toldOfFolder = false;
    }

    /// <returns>Its token is cancelled when there is no Forge for a job any more. Dispose it when it has served.</returns>
    private CancellationTokenSource WaitForOffer(CancellationToken stopping)
    {
        while (true)
        {
            var change = NextChange;
            if (Offers > 0)
                break;
            change.Wait(stopping);
        }

        var offer = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        _ = WithdrawAsync(offer, offer.Token);
        return offer;
    }

    private async Task WithdrawAsync(CancellationTokenSource offer, CancellationToken token)
    {
        try
        {
            while (!token.IsCancellationRequested)
            {
                var change = NextChange;
                if (Offers <= 0)
                {
                    await offer.CancelAsync();
                    return;
                }

                await change.WaitAsync(token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        catch (ObjectDisposedException)
        {
            // It has served.
        }
    }

    /// <summary>Gives a job its turn.</summary>
    internal FetchedRequest Take(IFetchedJob job)
    {
        Interlocked.Increment(ref _promised);
        lock (_lock)
        {
            var request = new FetchedRequest(this, job, ++_turns, _earlierClaims);
            _earlierClaims = request.ClaimedOrGone;
            return request;
        }
    }

    /// <summary>A job that a worker has taken with a Forge promised to it. Hangfire's connection disposes of it when the worker is done.</summary>
    internal sealed class FetchedRequest : IDisposable
    {
        private readonly CapacityGatedFetch _fetch;
        private readonly TaskCompletionSource _steppedAside = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _isPromised = 1;

        public FetchedRequest(CapacityGatedFetch fetch, IFetchedJob job, long turn, Task earlierClaims)
        {
            _fetch = fetch;
            Job = job;
            Turn = turn;
            EarlierClaims = earlierClaims;
            ClaimedOrGone = BothAsync(earlierClaims, _steppedAside.Task);
        }

        /// <summary>As Hangfire gave it.</summary>
        public IFetchedJob Job { get; }

        /// <summary>Rises in the order of the fetch.</summary>
        public long Turn { get; }

        /// <summary>Completes when all that were fetched before have claimed their rows, or stepped aside.</summary>
        public Task EarlierClaims { get; }

        internal Task ClaimedOrGone { get; }

        /// <summary>Takes the Forge that suits best.</summary>
        /// <returns>
        /// Null when no Forge is healthy and in use: the job should go back to where it was. While some are, it waits for its turn at one,
        /// before all that were fetched later.
        /// </returns>
        /// <exception cref="ForgeException">No configured Forge could ever serve the wish.</exception>
        public async Task<BackendReservation?> AcquireAsync(BackendRequirements wish, CancellationToken cancellationToken)
        {
            try
            {
                if (_fetch._pool.TryTake(wish) is { } lease)
                    return lease;

                // Nobody who has a Forge waits for one who has none.
                StepAside();
                return _fetch._pool.IsAnyUsable ? await WaitAsync(wish, cancellationToken) : null;
            }
            finally
            {
                Unpromise();
            }
        }

        /// <summary>Lets those that were fetched later claim their rows.</summary>
        public void StepAside() => _steppedAside.TrySetResult();

        /// <summary>Puts the job back to where it was; the worker should then leave it (<see cref="Hangfire.Server.JobAbortedException"/>).</summary>
        public bool TryGiveBack(string why) => _fetch._jobs.TryGiveBack(Job.JobId, Job, why);

        public void Dispose()
        {
            StepAside();
            Unpromise();
        }

        /// <summary>Waits in the pool's line until it is served, or until the last healthy Forge is gone or paused.</summary>
        private async Task<BackendReservation?> WaitAsync(BackendRequirements wish, CancellationToken cancellationToken)
        {
            using var outage = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Unpromise(); // From here on the pool counts it among those that wait.
            var acquiring = _fetch._pool.AcquireAsync(Turn, wish, outage.Token);
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

        private void Unpromise()
        {
            if (Interlocked.Exchange(ref _isPromised, 0) == 0)
                return;
            Interlocked.Decrement(ref _fetch._promised);
            _fetch._unpromised.Raise();
        }

        private static async Task BothAsync(Task one, Task other)
        {
            await one;
            await other;
        }
    }
}
