using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Forge;

namespace ImageQueue.Tests.Backends;

/// <summary>Canaries that end as a test says.</summary>
internal sealed class FakeCanary(FakeForge forge) : ICanary
{
    public Task RunAsync(ForgeBackend backend, string taskId, ForgeCapabilities capabilities, CancellationToken cancellationToken)
    {
        var server = forge[backend.Name];
        Interlocked.Increment(ref server.Canaries);
        return server.Canary();
    }
}
