using System.Collections.Concurrent;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// A whole journey with every log line there is; then keys, tokens and passwords are looked for wherever they might have gone.
/// </summary>
[Category(Categories.App)]
internal sealed class SecretsJourneyTests
{
    private const string ForgePassword = "gizli-forge-parolası-7";
    private const string Prompt = "pembe bir zürafa, çok gizli";

    [Test]
    public async Task Secrets_AreNowhere_AfterAWholeJourney()
    {
        using var folder = new TemporaryFolder();
        await using var forge = await SimulatorServer.StartAsync();
        var log = new EverythingLogged();
        string token, cookie;
        var pages = new StringBuilder();
        await using (var app = await AuthApp.StartAsync(
            new()
            {
                ["Logging:LogLevel:Default"] = "Trace",
                ["Logging:LogLevel:Microsoft.AspNetCore"] = "Trace",
                ["Logging:LogLevel:Hangfire"] = "Trace",
                ["Forge:Simulator:Enabled"] = "false",
                ["Forge:Backends:0:Url"] = forge.Address.AbsoluteUri,
                ["Forge:Backends:0:Username"] = "api",
                ["Forge:Backends:0:Password"] = ForgePassword,
            },
            folder: folder,
            configure: builder => builder.Logging.SetMinimumLevel(LogLevel.Trace).Services.AddSingleton<ILoggerProvider>(log)))
        {
            token = await app.TokenAsync();
            var query = $"access_token={Uri.EscapeDataString(token)}";
            var image = (string)(
                await app.WaitForAsync(
                    (long)(await app.SubmitAsync(Prompt))["id"]!, MessageStatus.Complete))["extra_metadata"]!["image_url"]!;
            var failed = (long)(await app.SubmitAsync($"{Prompt} [fault:oom]"))["id"]!;
            await app.WaitForAsync(failed, MessageStatus.Error);
            Assert.That((int)(await app.As(token).PostAsync($"api/messages/{failed}/retry", null)).StatusCode, Is.EqualTo(200));
            Assert.That((int)(await app.As(null).GetAsync($"{image}?{query}")).StatusCode, Is.EqualTo(200));
            using (await SseReader.OpenAsync(app.As(null), $"api/conversations/{AuthApp.Conversation}/events?{query}"))
            {
                Assert.That(
                    (int)(await app.As(null).PostAsync($"hubs/images/negotiate?negotiateVersion=1&{query}", null)).StatusCode,
                    Is.EqualTo(200));
            }

            // Where they do not belong, and what is refused.
            foreach (var path in new[]
            {
                $"api/queue?{query}",
                $"nothing/here?{query}",
                $"images/flux_0.png?ACCESS_TOKEN={token}",
                $"api/messages/x?access%5Ftoken={token}",
            })
            {
                pages.Append(
                    await app.As(null).GetAsync(path).ContinueWith(
                        get => get.Result.Content.ReadAsStringAsync(), TaskScheduler.Default).Unwrap());
            }

            pages.Append(await (await app.As(AuthApp.ClientKey + "x").GetAsync("api/queue")).Content.ReadAsStringAsync());
            pages.Append(await (await AuthApp.SignInAsync(app.Browser(), AuthApp.OperatorKey + "x")).Content.ReadAsStringAsync());

            var browser = app.Browser();
            using (var signedIn = await AuthApp.SignInAsync(browser, AuthApp.OperatorKey))
            {
                cookie = signedIn.Headers.GetValues("Set-Cookie")
                    .Single(one => one.StartsWith("imagequeue=", StringComparison.Ordinal))
                    .Split('=', ';')[1];
            }

            var jobs = (await app.App.Services.GetRequiredService<IMessageStore>().ListAsync(AuthApp.Conversation, 0, 10, default))
                .Select(message => message.HangfireJobId);
            foreach (var page in new[]
            {
                "",
                "/jobs/enqueued",
                "/jobs/processing",
                "/jobs/succeeded",
                "/jobs/failed",
                "/recurring",
                "/servers",
                "/retries",
            }.Concat(jobs.Select(job => $"/jobs/details/{job}")))
            {
                pages.Append(await browser.GetStringAsync($"hangfire{page}"));
            }

            pages.Append(await browser.GetStringAsync(""))
                .Append(await browser.GetStringAsync("openapi/v1.json"))
                .Append(await browser.GetStringAsync("api/queue"));
        }

        var places = new Dictionary<string, string>
        {
            ["the logs"] = log.ToString(),
            ["pages and problems"] = pages.ToString(),
            ["the data"] = string.Concat(
                Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories).Select(
                    file => Encoding.UTF8.GetString(File.ReadAllBytes(file)))),
        };
        foreach (var (place, text) in places)
        {
            foreach (var secret in new[]
            {
                AuthApp.ClientKey,
                AuthApp.OperatorKey,
                AuthApp.ReaderKey,
                token,
                cookie,
                ForgePassword,
                Convert.ToBase64String(Encoding.UTF8.GetBytes($"api:{ForgePassword}")),
            })
            {
                Assert.That(text.Contains(secret, StringComparison.Ordinal), Is.False, $"{secret} is in {place}: {Around(text, secret)}");
            }
        }

        Assert.That(places["pages and problems"], Does.Not.Contain(Prompt), "the dashboard shows ids, not prompts");
        Assert.That(log.Of(LogLevel.Information), Does.Not.Contain(Prompt), "prompts are for Debug and below");

        // It must be able to fail: what is there is found.
        Assert.That(places["the data"], Does.Contain(Prompt));
        Assert.That(places["the logs"], Does.Contain("signed in").And.Contain("/api/queue"));
    }

    private static string Around(string text, string secret) =>
        text.IndexOf(secret, StringComparison.Ordinal) is >= 0 and var at
            ? text[Math.Max(0, at - 300)..Math.Min(text.Length, at + secret.Length + 50)]
            : "";

    /// <summary>Every line, with its scopes and exceptions.</summary>
    private sealed class EverythingLogged : ILoggerProvider, ISupportExternalScope
    {
        private readonly ConcurrentQueue<(LogLevel Level, string Text)> _lines = new();
        private IExternalScopeProvider _scopes = new LoggerExternalScopeProvider();

        public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

        public void SetScopeProvider(IExternalScopeProvider scopeProvider) => _scopes = scopeProvider;

        public void Dispose()
        {
            // The lines are wanted after the app has stopped.
        }

        public string Of(LogLevel atLeast) => string.Join('\n', _lines.Where(line => line.Level >= atLeast).Select(line => line.Text));

        public override string ToString() => Of(LogLevel.Trace);

        private sealed class Logger(EverythingLogged all, string category) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => all._scopes.Push(state);

            public bool IsEnabled(LogLevel logLevel) => true;

            public void Log<TState>(
                LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                var text = new StringBuilder($"{logLevel} {category}: {formatter(state, exception)} {exception}");
                all._scopes.ForEachScope((scope, line) => line.Append(" => ").Append(scope), text);
                all._lines.Enqueue((logLevel, text.ToString()));
            }
        }
    }
}
