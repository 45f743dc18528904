using System.Collections.Concurrent;
using ImageQueue.Core.Forge;

namespace ImageQueue.Tests.Forge;

/// <summary>Servers that do what a test says, without HTTP.</summary>
internal sealed class FakeForge : IForgeClient
{
    private readonly ConcurrentDictionary<string, Server> _servers = new();

    public Server this[string name] => _servers.GetOrAdd(name, _ => new Server());

    public Task<ForgeImage> GenerateAsync(
        ForgeBackend backend, string taskId, GenerationRequest request, Func<Task> answered, CancellationToken cancellationToken) =>
        throw new NotSupportedException("The pool generates nothing.");

    public Task<ForgeProgress> GetProgressAsync(ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken)
    {
        var server = this[backend.Name];
        Interlocked.Increment(ref server.Looks);
        if (server.Trouble is { } trouble)
            throw trouble;
        return Task.FromResult(server.Progress(taskId));
    }

    public Task<ForgeServerState?> GetServerStateAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        Task.FromResult(this[backend.Name].State);

    public Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken)
    {
        var server = this[backend.Name];
        server.Interrupted.Enqueue(taskId);
        return Task.FromResult(server.OnInterrupt(taskId));
    }

    public Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref this[backend.Name].Lessons);
        return Task.FromResult(this[backend.Name].Capabilities);
    }

    public async Task<string?> WhyUnhealthyAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        var server = this[backend.Name];
        Interlocked.Increment(ref server.Probes);
        return await server.Probe() ? null : server.Down ?? "it does not answer";
    }

    /// <summary>One server.</summary>
    internal sealed class Server
    {
        public int Probes;

        public int Looks;

        public int Canaries;

        public int Lessons;

        public Server() => Probe = () => Task.FromResult(Down is null);

        /// <summary>Why it does not answer; null: it does.</summary>
        public string? Down { get; set; }

        public Func<Task<bool>> Probe { get; set; }

        /// <summary>How its canaries end.</summary>
        public Func<Task> Canary { get; set; } = () => Task.CompletedTask;

        public ForgeException? Trouble { get; set; }

        public ForgeCapabilities Capabilities { get; set; } = ForgeCapabilities.Unknown;

        public Func<string, ForgeProgress> Progress { get; set; } = _ => new ForgeProgress(ForgeTaskState.Unknown);

        public ForgeServerState? State { get; set; } = new(IsIdle: false, WasInterrupted: false, 0.5);

        public ConcurrentQueue<string> Interrupted { get; } = new();

        public Func<string, bool> OnInterrupt { get; set; } = _ => true;
    }
}
