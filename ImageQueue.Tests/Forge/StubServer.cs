using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using ImageQueue.Core.Forge;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace ImageQueue.Tests.Forge;

/// <summary>A real server over HTTP that answers by path; 404 as FastAPI says it where it has no answer.</summary>
internal sealed class StubServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, (int Status, string Body)> _answers = new();

    private StubServer(WebApplication app) => _app = app;

    public ConcurrentQueue<(string Method, string Path, string Body)> Requests { get; } = new();

    public ForgeBackend Backend { get; set; } = null!; // Set when it listens.

    public (int Status, string Body) this[string path]
    {
        set => _answers[path] = value;
    }

    /// <param name="certificate">Null: plain HTTP.</param>
    public static async Task<StubServer> StartAsync(X509Certificate2? certificate = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen =>
        {
            if (certificate is not null)
                listen.UseHttps(certificate);
        }));
        var app = builder.Build();
        var server = new StubServer(app);
        app.Run(server.AnswerAsync);
        await app.StartAsync();
        server.Backend = new ForgeBackend("gpu1", new Uri(app.Urls.Single().Replace("127.0.0.1", "localhost", StringComparison.Ordinal)));
        return server;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        Requests.Enqueue((context.Request.Method, context.Request.Path, await reader.ReadToEndAsync()));
        var (status, body) = _answers.GetValueOrDefault(context.Request.Path, (404, """{"detail":"Not Found"}"""));
        context.Response.StatusCode = status;
        await context.Response.WriteAsync(body);
    }
}
