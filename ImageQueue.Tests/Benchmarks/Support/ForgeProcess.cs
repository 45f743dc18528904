using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>A simulated Forge in a process of its own, so that its generating is not on the heap of what is measured.</summary>
internal sealed class ForgeProcess : IAsyncDisposable
{
    private readonly AppProcess _process;
    private readonly TemporaryFolder _folder;

    private ForgeProcess(AppProcess process, TemporaryFolder folder) => (_process, _folder) = (process, folder);

    /// <summary>What to set <c>Forge:Backends:n:Url</c> to.</summary>
    public Uri Address => new(_process.Http.BaseAddress!, "simulator/"); // Set by the start.

    public HttpClient Http => _process.Http;

    public static async Task<ForgeProcess> StartAsync(double secondsPerImage)
    {
        var folder = new TemporaryFolder();
        return new ForgeProcess(
            await AppProcess.StartAsync(
                folder.Path,
                forge: null,
                new() { ["Forge__Simulator__SecondsPerImage"] = secondsPerImage.ToString(CultureInfo.InvariantCulture) }), folder);
    }

    /// <summary>Forgets what it was asked so far.</summary>
    public async Task ClearAsync()
    {
        using var answer = await Http.DeleteAsync(new Uri(Address, "stats"));
        answer.EnsureSuccessStatusCode();
    }

    /// <summary>
    /// When each request came in and was answered, in milliseconds of its own clock; those that are in flight are left out.
    /// </summary>
    public async Task<List<(double At, double Answered)>> ReceivedAsync()
    {
        var stats = await Http.GetFromJsonAsync<JsonObject>(new Uri(Address, "stats"));
        return [
            .. stats!["received"]!.AsArray().Where(one => one!["answered_at_ms"] is not null).Select(
                one => ((double)one!["at_ms"]!, (double)one["answered_at_ms"]!))];
    }

    public async ValueTask DisposeAsync()
    {
        await _process.DisposeAsync();
        _folder.Dispose();
    }
}
