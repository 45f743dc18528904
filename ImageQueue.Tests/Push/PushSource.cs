using System.Text.Json.Nodes;
using ImageQueue.Core.Generation;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Tests.Push;

/// <summary>Image messages whose progress a test writes by itself, as workers would.</summary>
/// <param name="app">The app that is watched.</param>
/// <param name="store">Where the test writes; null: as the app itself does.</param>
internal sealed class PushSource(TestApp app, IMessageStore? store = null)
{
    private readonly IMessageStore _store = store ?? app.Services.GetRequiredService<IMessageStore>();
    private readonly RunningJobs _running = app.Services.GetRequiredService<RunningJobs>();

    /// <summary>A request that is being generated.</summary>
    public async Task<Message> BeginAsync(string conversation = "demo", string prompt = "a cat")
    {
        var request = new NewImageMessage(
            conversation, "ayşe", Guid.NewGuid().ToString("N"), prompt, new JsonObject { ["width"] = 64 }, 1, null);
        var message = (await _store.SubmitAsync(request, UserLimits.None, CancellationToken.None)).Message;
        // To the app's sweep these are jobs of a worker that is alive.
        _running.Register(message.Id, new CancellationTokenSource());
        return (await _store.ClaimAsync(message.Id, Guid.NewGuid().ToString("D"), null, null, CancellationToken.None)).Message!;
    }

    public async Task<Message> ProgressAsync(Message message, int progress) =>
        (await _store.SaveProgressAsync(message.Id, message.Attempt, progress, CancellationToken.None)).Message!;

    public async Task<Message> CompleteAsync(Message message) => (await _store.CompleteAsync(
        message.Id, message.Attempt, "done", $"/images/flux_{message.JobId}.png", $"/images/flux_{message.JobId}.thumb.webp",
        new ImageResult(1, 64, 64, "m", TimeSpan.FromSeconds(1)), CancellationToken.None)).Message!;

    /// <summary>Progress of all of them in turn, each from 0 upwards.</summary>
    public async Task RunAsync(IReadOnlyList<Message> messages, int changes)
    {
        for (var i = 0; i < changes; i++)
            await ProgressAsync(messages[i % messages.Count], Math.Min(99, i / messages.Count));
    }
}
