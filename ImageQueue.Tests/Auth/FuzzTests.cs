using System.Collections.Concurrent;
using System.Text.RegularExpressions;
using CsCheck;
using ImageQueue.Core.Generation;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>
/// Whatever is sent to whichever endpoint by whomever: no 500, no hang, and nothing is written but what an answer says was.
/// </summary>
[TestFixture]
[Category(Categories.App)]
internal sealed partial class FuzzTests
{
    private const int Requests = 5000;
    private const int AtOnce = 8;

    /// <summary>Forge answers 500 to an image that it cannot read, and so does the simulator.</summary>
    private const string ForgesRefusal = "Invalid encoded image";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static readonly string[] DashboardPaths =
    [
        "", "/stats", "/jobs/enqueued", "/jobs/enqueued/{q}", "/jobs/enqueued/fetched/{q}", "/jobs/processing", "/jobs/scheduled",
        "/jobs/succeeded", "/jobs/failed", "/jobs/deleted", "/jobs/awaiting",
        "/jobs/details/{j}", "/jobs/enqueued/delete", "/jobs/enqueued/requeue", "/jobs/failed/requeue", "/jobs/actions/requeue/{j}",
        "/jobs/actions/delete/{j}", "/recurring", "/recurring/trigger", "/recurring/remove",
        "/retries", "/servers", "/{x}",
    ];

    private static readonly string[] Waiting = ["txt2img", "img2img", "images/generations", "images/edits"];

    [TestCase("anonymous", 1UL)]
    [TestCase("client", 2UL)]
    [TestCase("operator", 3UL)]
    [TestCase("operator-read", 4UL)]
    [TestCase("watcher", 5UL)]
    public async Task Answer_IsNeverAFault_AndNothingIsHalfWritten(string role, ulong seed)
    {
        await using var app = await AuthApp.StartAsync(new()
        {
            ["Limits:RequestsPerKey"] = "1000000",
            ["Limits:RequestsPerAddress"] = "1000000",
            ["Limits:StreamsPerAddress"] = "100000",
            ["Forge:Simulator:SecondsPerImage"] = "3600", // Nothing is generated meanwhile.
            ["Queue:MaxLength"] = "100",
        });
        var known = new ConcurrentDictionary<long, bool>();
        for (var i = 0; i < 5; i++)
            known.TryAdd((long)(await app.SubmitAsync())["id"]!, true);
        var http = await CallerAsync(app, role);
        var formToken = role.StartsWith("operator", StringComparison.Ordinal)
            ? DashboardToken.Match(await http.GetStringAsync("hangfire")).Groups[1].Value
            : "none";
        var requests = FuzzRequests.For([.. Endpoints(app).Where(endpoint => role == "anonymous" || endpoint.Pattern != "/logout")]);
        var pcg = new PCG(1, seed);
        var all = Enumerable.Range(0, Requests).Select(_ => requests.Generate(pcg, null, out var _)).ToList();
        var (faults, statuses) = (new ConcurrentQueue<string>(), new ConcurrentDictionary<int, int>());

        await Parallel.ForEachAsync(all, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (request, cancellationToken) =>
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(Patience);
            try
            {
                var (status, created, text) = await SendOrAgainAsync(http, app.App.Address, request, formToken, patience.Token);
                statuses.AddOrUpdate(status, 1, (_, count) => count + 1);
                if (status >= 500 && !text.Contains(ForgesRefusal, StringComparison.Ordinal))
                    faults.Enqueue($"{status} for {request}: {text}");
                if (created is { } id)
                    known.TryAdd(id, true);
            }
            catch (HttpRequestException) when (request.Target.StartsWith("/simulator", StringComparison.Ordinal))
            {
                // One of its faults is to cut the connection.
            }
            catch (Exception e) when (e is OperationCanceledException or HttpRequestException)
            {
                faults.Enqueue($"{e.GetType().Name} ({e.InnerException?.Message ?? e.Message}) for {request}");
            }
        });

        TestContext.Out.WriteLine(
            string.Join(", ", statuses.OrderBy(status => status.Key).Select(status => $"{status.Key}: {status.Value}")));
        Assert.That(faults, Is.Empty, string.Join('\n', faults.Take(20).Concat(app.App.Log.Of(LogLevel.Error).Take(20))));
        // The simulator's faults are asked for too, and make images fail.
        Assert.That(
            app.App.Log.Of(LogLevel.Error).Where(line => !line.Contains(nameof(GenerateImageJob), StringComparison.Ordinal)), Is.Empty);
        await AssertWholeAsync(app, known.Keys.ToHashSet());
    }

    /// <summary>The rows are those that answers spoke of, each with all that it needs.</summary>
    private static async Task AssertWholeAsync(AuthApp app, HashSet<long> known)
    {
        var changes = await app.App.Services.GetRequiredService<IMessageStore>().ChangesSinceAsync(
            0, null, 100_000, CancellationToken.None);

        Assert.That(changes.Select(change => change.Message.Id).Except(known), Is.Empty, "rows that no answer spoke of");
        Assert.That(known.Except(changes.Select(change => change.Message.Id)), Is.Empty, "answers without a row");
        foreach (var message in changes.Select(change => change.Message))
        {
            Assert.That(JsonDocument.Parse(message.ExtraMetadata).RootElement.ValueKind, Is.EqualTo(JsonValueKind.Object));
            Assert.That(message.Content, message.IsDeleted ? Is.Empty : Is.Not.Empty);
            if (message.IsImage && !message.IsDeleted)
            {
                Assert.That(
                    (message.Status, message.JobId?.Length, message.Prompt),
                    Is.Not.EqualTo(
                        ((string?)null, (int?)null, (string?)null)).And.Matches<(string?, int?, string?)>(all =>
                            all is ({ }, 32, { Length: > 0 })));
            }
        }
    }

    /// <summary>
    /// A kept connection may be closed by the server in the moment in which it is used again (RFC 9112, 9.6); HttpClient repeats no
    /// POST by itself. What the first one wrote without an answer is found in the rows.
    /// </summary>
    private static async Task<(int Status, long? Created, string Text)> SendOrAgainAsync(
        HttpClient http, Uri server, FuzzRequest fuzz, string formToken, CancellationToken cancellationToken)
    {
        try
        {
            return await SendAsync(http, server, fuzz, formToken, cancellationToken);
        }
        catch (HttpRequestException) when (!fuzz.Target.StartsWith("/simulator", StringComparison.Ordinal))
        {
            return await SendAsync(http, server, fuzz, formToken, cancellationToken);
        }
    }

    private static async Task<(int Status, long? Created, string Text)> SendAsync(
        HttpClient http, Uri server, FuzzRequest fuzz, string formToken, CancellationToken cancellationToken)
    {
        // As it is: Uri would otherwise mend what is wrong in it.
        var target = new Uri(
            $"{server.GetLeftPart(UriPartial.Authority)}{fuzz.Target.Replace(" ", "%20", StringComparison.Ordinal)}",
            new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        using var request = new HttpRequestMessage(new HttpMethod(fuzz.Method), target);
        if (fuzz.Body is { } body)
        {
            request.Content = new ByteArrayContent(body);
            if (fuzz.ContentType is { } type)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        foreach (var (name, value) in fuzz.Headers)
            request.Headers.TryAddWithoutValidation(name, value);
        if (fuzz.HasFormToken)
            request.Headers.TryAddWithoutValidation("RequestVerificationToken", formToken);
        using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        var status = (int)response.StatusCode;
        if (status is not (201 or 202) && status < 500)
            return (status, null, "");
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        return (status, status < 500 && JsonDocument.Parse(text).RootElement.TryGetProperty("id", out var id) ? id.GetInt64() : null, text);
    }

    private static async Task<HttpClient> CallerAsync(AuthApp app, string role) => role switch
    {
        "client" => app.Client(),
        "operator" => await app.SignInAsync(AuthApp.OperatorKey),
        "operator-read" => await app.SignInAsync(AuthApp.ReaderKey),
        "watcher" => app.As(await app.TokenAsync()),
        _ => app.As(null),
    };

    /// <summary>What the running app has, and the dashboard's own routes, which are one endpoint to it.</summary>
    private static List<(string Method, string Pattern)> Endpoints(AuthApp app) =>
    [
        .. app.App.Services.GetRequiredService<IEnumerable<EndpointDataSource>>()
            .SelectMany(source => source.Endpoints)
            .OfType<RouteEndpoint>()
            // They answer when the image is complete: in an hour.
            .Where(endpoint => !Waiting.Any(path => endpoint.RoutePattern.RawText!.EndsWith(path, StringComparison.Ordinal)))
            .SelectMany(
                endpoint => (endpoint.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods is { Count: > 0 } methods ? methods : ["*"])
                .SelectMany(
                    method =>
                        Enumerable.Repeat((method, "/" + endpoint.RoutePattern.RawText!.TrimStart('/')),
                            endpoint.RoutePattern.RawText.Contains("api/", StringComparison.Ordinal) ? 4 : 1))),
        .. DashboardPaths.Select(path => ("*", "/hangfire" + path)),
        ("GET", "/"), ("GET", "/chat/{file}"), ("GET", "/{nothing}"),
    ];

    [GeneratedRegex("name=\"csrf-token\" content=\"([^\"]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex DashboardToken { get; }
}
