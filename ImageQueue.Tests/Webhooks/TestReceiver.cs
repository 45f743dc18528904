using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using ImageQueue.Core.Webhooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>A chat app's side of webhooks: checks each signature and answers as a test wants it.</summary>
internal sealed class TestReceiver : IAsyncDisposable
{
    public const string Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    private readonly WebApplication _app;
    private readonly CancellationTokenSource _ends = new();

    private TestReceiver(WebApplication app) => _app = app;

    public Uri Url { get; private set; } = null!; // Set when it listens.

    /// <summary>
    /// What it does, and the status that it has answered, 0 for none; 200 at first. What came is among the context's items.
    /// </summary>
    public Func<HttpContext, Task<int>> Answer { get; set; } = Status(200);

    /// <summary>All that came, in order.</summary>
    public ConcurrentQueue<Delivery> Deliveries { get; } = new();

    /// <summary>Those that it took.</summary>
    public IEnumerable<Delivery> Taken => Deliveries.Where(delivery => delivery.Status is >= 200 and < 300);

    public static Func<HttpContext, Task<int>> Status(int status) => context => Task.FromResult(context.Response.StatusCode = status);

    /// <summary>Takes the request and never answers.</summary>
    public async Task<int> HangAsync(HttpContext context)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, _ends.Token);
        await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return 0;
    }

    /// <summary>Closes the connection in the middle.</summary>
    public static Task<int> CloseAsync(HttpContext context)
    {
        context.Abort();
        return Task.FromResult(0);
    }

    public static async Task<TestReceiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        var receiver = new TestReceiver(builder.Build());
        receiver._app.Run(receiver.TakeAsync);
        await receiver._app.StartAsync();
        receiver.Url = new Uri($"{receiver._app.Urls.Single()}/hooks");
        return receiver;
    }

    /// <summary>The settings that send these events here.</summary>
    public Dictionary<string, string?> Settings(params string[] events) => new Dictionary<string, string?>
    {
        ["Webhooks:AllowPrivate"] = "true",
        ["Webhooks:0:Url"] = Url.AbsoluteUri,
        ["Webhooks:0:Secret"] = Secret,
    }.Concat(events.Select((name, i) => KeyValuePair.Create($"Webhooks:0:Events:{i}", (string?)name))).ToDictionary();

    /// <summary>Waits until it has taken an event of the type for the message.</summary>
    public async Task<Delivery> TakenAsync(long messageId, string type)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if (Taken.FirstOrDefault(delivery => delivery.MessageId == messageId && delivery.Type == type) is { } taken)
                return taken;
            if (TimeProvider.System.GetElapsedTime(started) > TimeSpan.FromSeconds(45))
            {
                Assert.Fail(
                    $"{type} of {messageId} has not come. Came: "
                        + $"{string.Join(", ", Deliveries.Select(one => $"{one.Type} of {one.MessageId}: {one.Status}"))}");
            }

            await Task.Delay(20);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _ends.CancelAsync();
        await _app.DisposeAsync();
        _ends.Dispose();
    }

    private async Task TakeAsync(HttpContext context)
    {
        using var stream = new MemoryStream();
        await context.Request.Body.CopyToAsync(stream);
        var body = stream.ToArray();
        var headers = context.Request.Headers;
        var (id, signature) = ((string?)headers["webhook-id"] ?? "", (string?)headers["webhook-signature"] ?? "");
        var at = DateTimeOffset.FromUnixTimeSeconds(long.Parse((string?)headers["webhook-timestamp"] ?? "0", CultureInfo.InvariantCulture));
        var key = Convert.FromBase64String(Secret["whsec_".Length..]);
        var isValid = signature.Split(' ').Contains(WebhookSignature.Of([key], id, at, body))
            && (TimeProvider.System.GetUtcNow() - at).Duration() < TimeSpan.FromMinutes(1);
        var delivery = new Delivery(id, JsonNode.Parse(body)!.AsObject(), Encoding.UTF8.GetString(body), isValid);
        Deliveries.Enqueue(delivery);
        context.Items[nameof(Delivery)] = delivery;
        delivery.Status = await Answer(context);
    }
}

/// <summary>What came.</summary>
internal sealed record Delivery(string Id, JsonObject Body, string Text, bool IsValid)
{
    /// <summary>What was answered; 0 when nothing was.</summary>
    public int Status { get; set; }

    public string Type => (string)Body["type"]!;

    public JsonObject Data => Body["data"]!.AsObject();

    public long MessageId => (long)(Data["message_id"] ?? Data["id"])!;
}
