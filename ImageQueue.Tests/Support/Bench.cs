using Hangfire;
using Hangfire.Server;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Storage;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Moq;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Support;

/// <summary>
/// All of Core on a real SQLite file and a real Hangfire storage, but without a host: no worker runs unless a test runs it, and
/// Forge does what the test says.
/// </summary>
internal sealed class Bench : IAsyncDisposable
{
    private static readonly ForgeImage CanaryImage = new(SceneRenderer.Draw("a grey square", 1, 64, 64, 1, SKEncodedImageFormat.Png), null);

    private readonly TemporaryFolder _folder;
    private readonly bool _ownsFolder;
    private readonly ServiceProvider _services;
    private int _submitted;

    private Bench(
        TimeProvider time, Dictionary<string, string?> settings, Func<IMessageStore, IMessageStore>? wrap, TemporaryFolder? folder)
    {
        (_folder, _ownsFolder) = (folder ?? new TemporaryFolder(), folder is null);
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["ConnectionStrings:ImageQueue"] = $"Data Source={Path.Combine(_folder.Path, "imagequeue.db")}",
            ["Images:Directory"] = ImagesFolder,
            ["Forge:Backends:0:Url"] = "http://forge.example:7860",
            ["Forge:PollInterval"] = "00:00:00.0500000",
        }).AddInMemoryCollection(settings).Build();
        var services = new ServiceCollection();
        services.AddLogging(logging => logging.AddProvider(Log));
        services.AddSingleton(time);
        services.AddSingleton(Forge.Object);
        services.AddImageQueueCore(configuration);
        services.AddHangfire(_ => { });
        HangfireLog.PutInto(services);
        if (wrap is not null)
        {
            var inner = services.Last(service => service.ServiceType == typeof(IMessageStore));
            var order = services.Last(service => service.ServiceType == typeof(IQueueOrder));
            // Both are registered by factory.
            services.AddSingleton(provider => wrap((IMessageStore)inner.ImplementationFactory!(provider)));
            services.AddSingleton(provider => FaultyOrder.Around(
                (IQueueOrder)order.ImplementationFactory!(provider), method => OrderFault(method)));
        }

        _services = services.BuildServiceProvider();
        HangfireLog.Follow(_services);
        Store = Get<IMessageStore>();
        Jobs = Get<ImageJobs>();
        Client = Get<IBackgroundJobClientV2>();
    }

    public LogRecorder Log { get; } = new();

    /// <summary>Healthy, generates nothing and is at nothing, unless a test says more.</summary>
    public Mock<IForgeClient> Forge { get; } = NewForge();

    public IMessageStore Store { get; }

    /// <summary>By method of the queue's order: the exception to throw; null: none. For benches whose store is wrapped.</summary>
    public Func<string, Exception?> OrderFault { get; set; } = _ => null;

    public ImageJobs Jobs { get; }

    public IBackgroundJobClientV2 Client { get; }

    public string ImagesFolder => Path.Combine(_folder.Path, "images");

    public static async Task<Bench> CreateAsync(
        TimeProvider? time =
            null, Dictionary<string, string?>? settings =
                null, Func<IMessageStore, IMessageStore>? wrap = null, TemporaryFolder? folder = null)
    {
        var bench = new Bench(time ?? TimeProvider.System, settings ?? [], wrap, folder);
        await bench.Get<IMessageDatabase>().PrepareAsync(CancellationToken.None);
        bench.Get<DatabaseReadiness>().Set();
        await bench.Get<Pauses>().LookAsync(CancellationToken.None);
        return bench;
    }

    public T Get<T>()
        where T : notnull => _services.GetRequiredService<T>();

    /// <summary>A queued row without a Hangfire job.</summary>
    public async Task<Message> AddRowAsync() => (await Store.SubmitAsync(
        new NewImageMessage(
            "sohbet", "ayşe", JobId: Interlocked.Increment(ref _submitted).ToString(
                "x32", CultureInfo.InvariantCulture), "bir gül", [], QueuePosition: 1, IdempotencyKey: null),
        UserLimits.None,
        CancellationToken.None)).Message;

    /// <summary>A queued row with its Hangfire job.</summary>
    public async Task<Message> QueueAsync()
    {
        var row = await AddRowAsync();
        return Applied(await Store.AttachJobAsync(row.Id, Jobs.Enqueue(row.Id), null, CancellationToken.None));
    }

    /// <summary>A processing row whose job Hangfire calls processing, by a server that it does not know.</summary>
    public async Task<Message> ClaimAsync(Message? row = null)
    {
        row ??= await QueueAsync();
        var claimed = Applied(await Store.ClaimAsync(row.Id, row.HangfireJobId!, null, null, CancellationToken.None));
        SetState(row.HangfireJobId!, new Processing());
        return claimed;
    }

    /// <summary>As an operator does it in the dashboard.</summary>
    public void SetState(string job, IState state) =>
        Assert.That(Client.ChangeState(job, state, null), Is.True, $"{job} has not become {state.Name}");

    public string? StateOf(Message message) => message.HangfireJobId is { } job ? Jobs.Find(job)?.Name : null;

    public async Task<Message> FindAsync(Message message) => (await Store.FindAsync(message.Id, CancellationToken.None))!;

    /// <summary>The messages whose jobs wait in Hangfire's queue, in its order.</summary>
    public long[] Enqueued() => [.. Get<JobStorage>().GetMonitoringApi().EnqueuedJobs(ImageJobs.QueueName, 0, 10_000)
        .Where(entry => entry.Value?.State == EnqueuedState.StateName)
        .DistinctBy(entry => entry.Key) // A requeued job has two entries (Hangfire #2380).
        .Select(entry => (long)entry.Value.Job.Args[0])];

    /// <summary>Runs the message's job as a worker of Hangfire would.</summary>
    /// <param name="message">Its Hangfire job is run.</param>
    /// <param name="cancellationToken">Hangfire's: the process stops, or the job was taken from the worker.</param>
    public async Task RunAsync(Message message, CancellationToken cancellationToken = default)
    {
        var job = (GenerateImageJob)Get<IImageJob>();
        if (StateOf(message) == EnqueuedState.StateName)
            SetState(message.HangfireJobId!, new Processing());
        await ProbedAsync();
        using var fetched = Get<CapacityGatedFetch>().Fetch(() => new Taken(message.HangfireJobId!), cancellationToken);
        var run = new GenerateImageJob.Run(
            message.Id,
            message.HangfireJobId!,
            fetched,
            new WorkerToken(this, message.HangfireJobId!, cancellationToken),
            cancellationToken);
        await job.RunAsync(run).WaitAsync(TimeSpan.FromSeconds(60), CancellationToken.None);
    }

    /// <summary>Until every server has been asked how it is, and those that are well can be had.</summary>
    public Task ProbedAsync()
    {
        var pool = Get<BackendPool>();
        pool.StartMonitoring();
        return Until.TrueAsync(
            () =>
                pool.Status.All(backend => backend.Healthy is not null)
                    && (pool.Status.All(backend => backend.Healthy == false || backend.Busy) || pool.Available > 0),
            "the servers are known");
    }

    /// <summary>Lets Forge generate: an image comes when the task ends.</summary>
    public void Generate(Func<string, CancellationToken, Task<ForgeImage>> generate) =>
        Forge.Setup(
            forge =>
                forge.GenerateAsync(It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<GenerationRequest>(), It.IsAny<Func<Task>>(),
                    It.IsAny<CancellationToken>()))
            .Returns((ForgeBackend _, string task, GenerationRequest _, Func<Task> _, CancellationToken cancellationToken) =>
                IsCanary(task) ? Task.FromResult(CanaryImage) : generate(task, cancellationToken));

    public static bool IsCanary(string task) => task.StartsWith("canary-", StringComparison.Ordinal);

    public static Message Applied(Transition transition)
    {
        Assert.That(transition.Applied, Is.True, $"the transition was refused: {transition.Message}");
        return transition.Message!;
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        if (_ownsFolder)
            _folder.Dispose();
    }

    private static Mock<IForgeClient> NewForge()
    {
        var forge = new Mock<IForgeClient>();
        forge.Setup(client => client.WhyUnhealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync((string?)null);
        forge.Setup(client => client.GenerateAsync(
                It.IsAny<ForgeBackend>(), It.Is<string>(
                    task => IsCanary(task)), It.IsAny<GenerationRequest>(), It.IsAny<Func<Task>>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(() => CanaryImage);
        forge.Setup(
            client =>
                client.GetProgressAsync(It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<bool>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(new ForgeProgress(ForgeTaskState.Unknown));
        forge.Setup(client => client.LearnAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(ForgeCapabilities.Unknown);
        forge.Setup(client => client.InterruptAsync(It.IsAny<ForgeBackend>(), It.IsAny<string>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync(false);
        return forge;
    }

    /// <summary>Hangfire's own can be made by its workers only.</summary>
    internal sealed class Processing : IState
    {
        public string Name => ProcessingState.StateName;

        public string Reason => "";

        public bool IsFinal => false;

        public bool IgnoreJobLoadException => false;

        public Dictionary<string, string> SerializeData() => new() { ["ServerId"] = "gone:1", ["WorkerId"] = "1" };
    }

    private sealed class Taken(string job) : IFetchedJob
    {
        public string JobId => job;

        public void RemoveFromQueue()
        {
            // No worker fetches here.
        }

        public void Requeue()
        {
            // The same.
        }

        public void Dispose()
        {
            // Holds nothing.
        }
    }

    private sealed class WorkerToken(Bench bench, string job, CancellationToken shutdown) : IJobCancellationToken
    {
        public CancellationToken ShutdownToken => shutdown;

        public void ThrowIfCancellationRequested()
        {
            shutdown.ThrowIfCancellationRequested();
            if (bench.Jobs.Find(job)?.Name != ProcessingState.StateName)
                throw new JobAbortedException();
        }
    }
}
