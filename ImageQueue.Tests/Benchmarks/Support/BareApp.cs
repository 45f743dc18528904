using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Threading.Channels;
using Dapper;
using Hangfire;
using Hangfire.States;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>
/// The least that could do it: an ASP.NET Core app whose one endpoint does one INSERT and one Hangfire enqueue, and whose event
/// stream gets what was written from memory. It checks nothing, merges nothing, has no limits and forgets all at its end.
/// </summary>
internal sealed class BareApp : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly BenchmarkStorage _storage;
    private readonly BackgroundJobClient _jobs;
    private readonly ConcurrentDictionary<string, ImmutableArray<Channel<string>>> _watchers = new();

    private BareApp(WebApplication app, BenchmarkStorage storage)
    {
        (_app, _storage) = (app, storage);
        Jobs = storage.Hangfire();
        _jobs = new BackgroundJobClient(Jobs);
    }

    public Uri Address => new(_app.Urls.Single());

    public JobStorage Jobs { get; }

    public static async Task<BareApp> StartAsync(BenchmarkStorage storage)
    {
        await storage.CreateBareTableAsync();
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var bare = new BareApp(app, storage);
        app.MapPost("/api/conversations/{conversation}/images", async (string conversation, BareRequest request) =>
        {
            var id = await bare.InsertAsync(conversation, request);
            bare.Enqueue(id);
            return Results.Accepted(value: new { id, conversation, request.Username, request.Prompt, status = "queued" });
        });
        app.MapGet("/api/conversations/{conversation}/events", bare.StreamAsync);
        await app.StartAsync();
        return bare;
    }

    /// <summary>What a submit does, without HTTP.</summary>
    public void Enqueue(long id) => _jobs.Create(() => RunAsync(id), new EnqueuedState());

    /// <summary>One INSERT.</summary>
    public Task<long> InsertAsync(string conversation, BareRequest request) => _storage.WithConnectionAsync(async connection =>
    {
        var row = new
        {
            conversation,
            username = request.Username,
            prompt = request.Prompt,
            metadata = """{"status":"queued","progress":0}""",
            now = TimeProvider.System.GetUtcNow().ToString("O", CultureInfo.InvariantCulture),
        };
        return await connection.ExecuteScalarAsync<long>(
            _storage.IsEmbedded
                ? "INSERT INTO bare (conversation_id, username, prompt, metadata, created_at) VALUES (@conversation, @username, @prompt, "
                    + "@metadata, @now) RETURNING id"
                : "INSERT INTO bare (conversation_id, username, prompt, metadata, created_at) OUTPUT inserted.id VALUES (@conversation, "
                    + "@username, @prompt, @metadata, @now)",
            row);
    });

    /// <summary>One UPDATE, then a push to the watchers.</summary>
    public async Task WriteAsync(long id, string conversation, string text)
    {
        await _storage.WithConnectionAsync(
            connection => connection.ExecuteAsync("UPDATE bare SET metadata = @text WHERE id = @id", new { id, text }));
        foreach (var watcher in _watchers.GetValueOrDefault(conversation, []))
            watcher.Writer.TryWrite(text);
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationToken(canceled: true)); // Its streams end with it.
        await _app.DisposeAsync();
        (Jobs as IDisposable)?.Dispose();
    }

    /// <summary>What Hangfire would run.</summary>
    public static Task RunAsync(long id) => Task.FromResult(id);

    private async Task StreamAsync(HttpContext context, string conversation)
    {
        var channel = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
        _watchers.AddOrUpdate(conversation, _ => [channel], (_, watchers) => watchers.Add(channel));
        context.Response.ContentType = "text/event-stream";
        await context.Response.Body.FlushAsync(context.RequestAborted);
        try
        {
            await foreach (var text in channel.Reader.ReadAllAsync(context.RequestAborted))
            {
                await context.Response.WriteAsync($"event: message\ndata: {text}\n\n", context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
            }
        }
        catch (OperationCanceledException)
        {
            // Gone.
        }
    }
}

/// <summary>What is asked for.</summary>
public sealed record BareRequest(string Username, string Prompt);
