using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>
/// Every endpoint of the running app by every kind of caller. An endpoint that is not in the table fails: its author decides here
/// who may call it, and names a policy of <c>Auth/Access.cs</c> there.
/// </summary>
[TestFixture(false)]
[TestFixture(true)]
[Category(Categories.App)]
internal sealed class EndpointTableTests(bool behindProxy)
{
    /// <summary>
    /// A number is the answer; "ok" is any that is no refusal. {c} is the owner's conversation, {m} a message in it, {j} its
    /// image. Callers: anonymous, client, operator, operator-read, the conversation's watcher, another conversation's watcher.
    /// </summary>
    private const string Table =
        """
        GET    /                                                            /                                   401 403 ok  ok  403 403
        GET    /api/conversations                                           /api/conversations?username=ayşe    401 ok  ok  ok  403 403
        GET    /api/events                                                  /api/events                         401 ok  ok  ok  403 403
        GET    /api/models                                                  /api/models                         401 ok  ok  ok  403 403
        POST   /api/conversations/{conversation_id}/images                  /api/conversations/{c}/images       401 ok  ok  403 403 403
        POST   /api/conversations/{conversation_id}/messages                /api/conversations/{c}/messages     401 ok  403 403 403 403
        GET    /api/conversations/{conversation_id}/messages                /api/conversations/{c}/messages     401 ok  ok  ok  ok  404
        POST   /api/conversations/{conversation_id}/uploads                 /api/conversations/{c}/uploads      401 ok  ok  403 403 403
        GET    /api/conversations/{conversation_id}/uploads/{upload_id:regex(^[0-9a-f]{{32}}$)} /api/conversations/{c}/uploads/{j} \
            401 404 404 404 404 404
        HEAD   /api/conversations/{conversation_id}/uploads/{upload_id:regex(^[0-9a-f]{{32}}$)} /api/conversations/{c}/uploads/{j} \
            401 404 404 404 404 404
        GET    /api/conversations/{conversation_id}/events                  /api/conversations/{c}/events       401 ok  ok  ok  ok  404
        POST   /api/conversations/{conversation_id}/tokens                  /api/conversations/{c}/tokens       401 ok  403 403 403 403
        GET    /api/messages/{id:long}                                      /api/messages/{m}                   401 ok  ok  ok  ok  404
        PATCH  /api/messages/{id:long}                                      /api/messages/{m}                   401 ok  403 403 403 403
        DELETE /api/messages/{id:long}                                      /api/messages/4242424242            401 404 403 403 403 403
        DELETE /api/conversations/{conversation_id}                         /api/conversations/missing          401 404 404 403 403 403
        PATCH  /api/conversations/{conversation_id}                         /api/conversations/{c}              401 ok  ok  403 403 403
        POST   /api/messages/{id:long}/cancel                               /api/messages/{m}/cancel            401 ok  ok  403 ok  404
        POST   /api/messages/{id:long}/retry                                /api/messages/{m}/retry             401 ok  ok  403 ok  404
        GET    /api/queue                                                   /api/queue                          401 ok  ok  ok  403 403
        POST   /api/queue/pause                                             /api/queue/pause                    401 403 ok  403 403 403
        POST   /api/queue/resume                                            /api/queue/resume                   401 403 ok  403 403 403
        POST   /api/backends/{name}/pause                                   /api/backends/simulator/pause       401 403 ok  403 403 403
        POST   /api/backends/{name}/resume                                  /api/backends/simulator/resume      401 403 ok  403 403 403
        GET    /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.png            /images/flux_{j}.png                401 ok  ok  ok  ok  404
        HEAD   /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.png            /images/flux_{j}.png                401 ok  ok  ok  ok  404
        GET    /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.thumb.webp     /images/flux_{j}.thumb.webp         401 ok  ok  ok  ok  404
        HEAD   /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.thumb.webp     /images/flux_{j}.thumb.webp         401 ok  ok  ok  ok  404
        GET    /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.preview.jpg    /images/flux_{j}.preview.jpg        401 ok  ok  ok  ok  404
        HEAD   /images/flux_{job_id:regex(^[0-9a-f]{{32}}$)}.preview.jpg    /images/flux_{j}.preview.jpg        401 ok  ok  ok  ok  404
        *      /hubs/images                                                 /hubs/images                        401 ok  ok  ok  ok  ok
        *      /hubs/images/negotiate                                       /hubs/images/negotiate              401 ok  ok  ok  ok  ok
        GET    /openapi/v1.json                                             /openapi/v1.json                    401 ok  ok  ok  403 403
        *      /health/live                                                 /health/live                        ok  ok  ok  ok  ok  ok
        *      /health/ready                                                /health/ready                       ok  ok  ok  ok  ok  ok
        *      /metrics                                                     /metrics                            401 403 ok  ok  403 403
        GET    /login                                                       /login                              ok  ok  ok  ok  ok  ok
        POST   /login                                                       /login                              ok  ok  ok  ok  ok  ok
        POST   /logout                                                      /logout                             ok  ok  ok  ok  ok  ok
        *      /hangfire/{**path}                                           /hangfire                           401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/stats                     401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/enqueued             401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/processing           401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/scheduled            401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/succeeded            401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/failed               401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/deleted              401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/awaiting             401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/jobs/details/1            401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/recurring                 401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/retries                   401 403 ok  ok  403 403
        *      /hangfire/{**path}                                           /hangfire/servers                   401 403 ok  ok  403 403
        POST   /hangfire/{**path}                                           /hangfire/stats                     401 403 ok  ok  403 403
        POST   /hangfire/{**path}                                           /hangfire/jobs/actions/delete/none  401 403 ok  403 403 403
        POST   /hangfire/{**path}                                           /hangfire/jobs/enqueued/delete      401 403 ok  403 403 403
        POST   /hangfire/{**path}                                           /hangfire/jobs/failed/requeue       401 403 ok  403 403 403
        POST   /hangfire/{**path}                                           /hangfire/recurring/trigger         401 403 ok  403 403 403
        POST   /hangfire/{**path}                                           /hangfire/recurring/remove          401 403 ok  403 403 403
        POST   /v1/images/generations                                       /v1/images/generations              401 ok  ok  403 403 403
        POST   /v1/images/edits                                             /v1/images/edits                    401 ok  ok  403 403 403
        POST   /v1/images/variations                                        /v1/images/variations               401 ok  ok  403 403 403
        GET    /v1/models                                                   /v1/models                          401 ok  ok  403 403 403
        GET    /v1/models/{**id}                                            /v1/models/flux1-schnell-fp8        401 ok  ok  403 403 403
        GET    /sdapi/v1/options                                            /sdapi/v1/options                   401 ok  ok  403 403 403
        GET    /sdapi/v1/sd-models                                          /sdapi/v1/sd-models                 401 ok  ok  403 403 403
        GET    /sdapi/v1/samplers                                           /sdapi/v1/samplers                  401 ok  ok  403 403 403
        GET    /sdapi/v1/schedulers                                         /sdapi/v1/schedulers                401 ok  ok  403 403 403
        GET    /sdapi/v1/memory                                             /sdapi/v1/memory                    401 ok  ok  403 403 403
        GET    /sdapi/v1/cmd-flags                                          /sdapi/v1/cmd-flags                 401 ok  ok  403 403 403
        GET    /sdapi/v1/scripts                                            /sdapi/v1/scripts                   401 ok  ok  403 403 403
        GET    /sdapi/v1/embeddings                                         /sdapi/v1/embeddings                401 ok  ok  403 403 403
        GET    /sdapi/v1/upscalers                                          /sdapi/v1/upscalers                 401 ok  ok  403 403 403
        GET    /sdapi/v1/latent-upscale-modes                               /sdapi/v1/latent-upscale-modes      401 ok  ok  403 403 403
        GET    /sdapi/v1/sd-vae                                             /sdapi/v1/sd-vae                    401 ok  ok  403 403 403
        GET    /sdapi/v1/loras                                              /sdapi/v1/loras                     401 ok  ok  403 403 403
        GET    /sdapi/v1/hypernetworks                                      /sdapi/v1/hypernetworks             401 ok  ok  403 403 403
        GET    /sdapi/v1/prompt-styles                                      /sdapi/v1/prompt-styles             401 ok  ok  403 403 403
        GET    /sdapi/v1/face-restorers                                     /sdapi/v1/face-restorers            401 ok  ok  403 403 403
        GET    /sdapi/v1/progress                                           /sdapi/v1/progress                  401 ok  ok  403 403 403
        POST   /sdapi/v1/options                                            /sdapi/v1/options                   401 ok  ok  403 403 403
        POST   /sdapi/v1/interrupt                                          /sdapi/v1/interrupt                 401 ok  ok  403 403 403
        POST   /sdapi/v1/skip                                               /sdapi/v1/skip                      401 ok  ok  403 403 403
        POST   /sdapi/v1/txt2img                                            /sdapi/v1/txt2img                   401 ok  ok  403 403 403
        POST   /sdapi/v1/img2img                                            /sdapi/v1/img2img                   401 ok  ok  403 403 403
        POST   /sdapi/v1/extra-single-image                                 /sdapi/v1/extra-single-image        401 ok  ok  403 403 403
        GET    /internal/ping                                               /internal/ping                      401 ok  ok  403 403 403
        GET    /internal/pending-tasks                                      /internal/pending-tasks             401 ok  ok  403 403 403
        POST   /internal/progress                                           /internal/progress                  401 ok  ok  403 403 403
        GET    /openapi.json                                                /openapi.json                       401 ok  ok  403 403 403
        GET    /openapi/{documentName:regex(^(openai|a1111)$)}.json         /openapi/openai.json                401 ok  ok  ok  403 403
        *      /simulator/{**path}                                          /simulator/faults                   local
        GET    /simulator/api/extra/version                                 /simulator/faults                   local
        GET    /simulator/openapi.json                                      /simulator/openapi.json             local
        POST   /simulator/sdapi/v1/txt2img                                  /simulator/sdapi/v1/txt2img         local
        POST   /simulator/sdapi/v1/img2img                                  /simulator/sdapi/v1/img2img         local
        POST   /simulator/sdapi/v1/extra-single-image                       /simulator/sdapi/v1/extra-single-image local
        GET    /simulator/sdapi/v1/upscalers                                /simulator/sdapi/v1/upscalers       local
        GET    /simulator/sdapi/v1/latent-upscale-modes                     /simulator/sdapi/v1/latent-upscale-modes local
        GET    /simulator/sdapi/v1/loras                                    /simulator/sdapi/v1/loras           local
        GET    /simulator/sdapi/v1/embeddings                               /simulator/sdapi/v1/embeddings      local
        GET    /simulator/sdapi/v1/sd-vae                                   /simulator/faults                   local
        GET    /simulator/sdapi/v1/sd-modules                               /simulator/sdapi/v1/sd-modules      local
        GET    /simulator/sdapi/v1/progress                                 /simulator/sdapi/v1/progress        local
        POST   /simulator/sdapi/v1/interrupt                                /simulator/sdapi/v1/interrupt       local
        GET    /simulator/sdapi/v1/options                                  /simulator/sdapi/v1/options         local
        GET    /simulator/sdapi/v1/samplers                                 /simulator/sdapi/v1/samplers        local
        GET    /simulator/sdapi/v1/schedulers                               /simulator/sdapi/v1/schedulers      local
        GET    /simulator/sdapi/v1/sd-models                                /simulator/sdapi/v1/sd-models       local
        GET    /simulator/sdapi/v1/memory                                   /simulator/sdapi/v1/memory          local
        GET    /simulator/internal/ping                                     /simulator/internal/ping            local
        GET    /simulator/internal/pending-tasks                            /simulator/internal/pending-tasks   local
        POST   /simulator/internal/progress                                 /simulator/internal/progress        local
        GET    /simulator/faults                                            /simulator/faults                   local
        POST   /simulator/faults                                            /simulator/faults                   local
        DELETE /simulator/faults                                            /simulator/faults                   local
        GET    /simulator/stats                                             /simulator/stats                    local
        DELETE /simulator/stats                                             /simulator/stats                    local
        """;

    /// <summary>An endpoint for each row of SECURITY.md that is about roles, by the row's first words.</summary>
    private static readonly (string Row, string Endpoint)[] OfSecurity =
    [
        ("request an image", "POST /api/conversations/{conversation_id}/images"),
        ("request an image", "POST /api/conversations/{conversation_id}/uploads"),
        ("read and watch", "GET /api/conversations/{conversation_id}/messages"),
        ("read and watch", "GET /api/conversations/{conversation_id}/events"),
        ("cancel, retry", "POST /api/messages/{id:long}/cancel"),
        ("add, change and delete", "PATCH /api/messages/{id:long}"),
        ("add, change and delete", "POST /api/conversations/{conversation_id}/tokens"),
        ("rename and delete conversations", "PATCH /api/conversations/{conversation_id}"),
        ("rename and delete conversations", "POST /v1/images/generations"),
        ("rename and delete conversations", "POST /sdapi/v1/txt2img"),
        ("rename and delete conversations", "POST /internal/progress"),
        ("`/api/queue`", "GET /api/queue"),
        ("`/api/queue`", "GET /api/models"),
        ("`/api/queue`", "GET /api/conversations"),
        ("`/api/queue`", "GET /api/events"),
        ("`/api/queue`", "GET /openapi/v1.json"),
        ("demo page", "GET /"),
        ("demo page", "* /hangfire/{**path}"),
        ("pause and other commands", "POST /api/queue/pause"),
        ("`/metrics`", "* /metrics"),
        ("`/health`", "* /health/ready"),
        ("`/health`", "GET /login"),
    ];

    /// <summary>A proxy on this very machine, as it usually is: to the app, every caller comes from loopback.</summary>
    private static readonly Dictionary<string, string> ProxyHeaders = new()
    {
        ["X-Forwarded-For"] = "203.0.113.9",
        ["X-Forwarded-Proto"] = "https",
        ["X-Forwarded-Host"] = "images.example",
    };

    private static readonly string Photo = Convert.ToBase64String(SceneRenderer.Draw("a photo", 1, 64, 64));

    private static readonly int[] Refusals = [401, 403, 404, 302];

    private AuthApp _app = null!; // All set before any test runs.
    private (string Name, HttpClient Http)[] _callers = [];
    private long _message;
    private string _job = "";

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        var settings = new Dictionary<string, string?> { ["Limits:RequestsPerAddress"] = "10000", ["Telemetry:Prometheus"] = "true" };
        if (behindProxy)
            settings["Auth:Proxies:0"] = "127.0.0.1";
        _app = await AuthApp.StartAsync(settings, behindProxy ? ProxyHeaders : null);
        var message = await _app.SubmitAsync();
        _message = (long)message["id"]!;
        _job = (string)message["extra_metadata"]!["job_id"]!;
        await _app.WaitForAsync(_message, MessageStatus.Complete);
        _callers =
        [
            ("anonymous", _app.As(null)),
            ("client", _app.Client()),
            ("operator", _app.As(AuthApp.OperatorKey)),
            ("operator-read", _app.As(AuthApp.ReaderKey)),
            ("watcher", _app.As(await _app.TokenAsync())),
            ("stranger", _app.As(await _app.TokenAsync("another", "mehmet"))),
            ("operator signed in", await _app.SignInAsync(AuthApp.OperatorKey)),
            ("operator-read signed in", await _app.SignInAsync(AuthApp.ReaderKey)),
        ];
    }

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    [Test]
    public void Table_HoldsEveryEndpointOfTheRunningApp_AndNoOther()
    {
        var running = _app.App.Services.GetRequiredService<IEnumerable<EndpointDataSource>>()
            .SelectMany(source => source.Endpoints)
            .OfType<RouteEndpoint>()
            .SelectMany(
                endpoint => (endpoint.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods is { Count: > 0 } methods ? methods : ["*"])
                .Where(method => method is not ("OPTIONS" or "HEAD")) // HEAD is wherever GET is, at the same endpoint.
                .Select(method => $"{method} /{endpoint.RoutePattern.RawText!.TrimStart('/')}"))
            .Distinct()
            .Order(StringComparer.Ordinal);

        var table = Rows()
            .Where(row => row.Method != "HEAD")
            .Select(row => $"{(row.Pattern.StartsWith("/hangfire", StringComparison.Ordinal) ? "*" : row.Method)} {row.Pattern}")
            .Distinct();
        Assert.That(running, Is.EqualTo(table.Order(StringComparer.Ordinal)));
    }

    [Test]
    public async Task Endpoint_AnswersAsTheTableSays_ToEachCaller()
    {
        var wrong = new List<string>();
        foreach (var row in Rows())
        {
            foreach (var (name, http) in _callers)
            {
                var expected = row.Answers[name];
                var actual = await CallAsync(http, name, row);
                if (expected == "ok" ? Refusals.Contains(actual)
                    || actual >= 500 : actual.ToString(CultureInfo.InvariantCulture) != expected)
                {
                    wrong.Add($"{row.Method} {row.Path} by {name}: {actual} and not {expected}");
                }
            }
        }

        Assert.That(wrong, Is.Empty, string.Join('\n', wrong));
    }

    /// <summary>So that the table of SECURITY.md and this one cannot differ.</summary>
    [Test]
    public void Table_SaysWhatSecuritySays()
    {
        var security = File.ReadLines(Repository.File("SECURITY.md"))
            .SkipWhile(line => !line.StartsWith("| shows", StringComparison.Ordinal)).Skip(1)
            .TakeWhile(line => line.StartsWith('|'))
            .Select(line => line.Trim('|').Split('|', StringSplitOptions.TrimEntries))
            .Where(cells => !cells[0].StartsWith("`/simulator`", StringComparison.Ordinal))
            .ToDictionary(
                cells => OfSecurity.Select(one => one.Row).Distinct().Single(row => cells[0].StartsWith(row, StringComparison.Ordinal)));
        string[] roles = ["client", "operator", "operator-read", "watcher", "anonymous"];

        Assert.That(security.Keys, Is.EquivalentTo(OfSecurity.Select(one => one.Row).Distinct()));
        foreach (var (row, endpoint) in OfSecurity)
        {
            var answers = Rows().First(one => $"{one.Method} {one.Pattern}" == endpoint).Answers;
            Assert.That(
                roles.Select(role => answers[role] == "ok"), Is.EqualTo(security[row][1..].Select(cell => cell.Length > 0)), endpoint);
        }
    }

    /// <summary>Opening a page shows the way in.</summary>
    [TestCase("/")]
    [TestCase("/hangfire/jobs/failed?from=10")]
    public async Task Page_LeadsToLogin_WhenNobodyIsSignedIn(string page)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, page);
        request.Headers.Add("Accept", "text/html,*/*;q=0.8");

        using var response = await _callers[0].Http.SendAsync(request);

        Assert.That((int)response.StatusCode, Is.EqualTo(302));
        Assert.That(response.Headers.Location?.OriginalString, Is.EqualTo($"/login?return={Uri.EscapeDataString(page)}"));
    }

    private IEnumerable<Row> Rows()
    {
        var table = Table.Replace("\\\n", "", StringComparison.Ordinal);
        foreach (var line in table.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var cells = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var answers = cells[3] == "local" ? Enumerable.Repeat(behindProxy ? "404" : "ok", 6).ToArray() : cells[3..];
            Assert.That(answers, Has.Length.EqualTo(6), line);
            yield return new Row(
                cells[0],
                cells[1],
                cells[2].Replace(
                    "{c}",
                    AuthApp.Conversation,
                    StringComparison.Ordinal).Replace("{m}", $"{_message}", StringComparison.Ordinal).Replace(
                        "{j}", _job, StringComparison.Ordinal),
                new()
                {
                    ["anonymous"] = answers[0],
                    ["client"] = answers[1],
                    ["operator"] = answers[2],
                    ["operator-read"] = answers[3],
                    ["watcher"] = answers[4],
                    ["stranger"] = answers[5],
                    ["operator signed in"] = answers[2],
                    ["operator-read signed in"] = answers[3],
                });
        }
    }

    private static async Task<int> CallAsync(HttpClient http, string caller, Row row)
    {
        if (row.Method == "POST"
            && row.Path.StartsWith("/hangfire", StringComparison.Ordinal)
            && caller.StartsWith("operator", StringComparison.Ordinal))
        {
            using var click = await AuthApp.PostDashboardAsync(http, row.Path, "none");
            return (int)click.StatusCode;
        }

        using var request = new HttpRequestMessage(row.Method == "*" ? HttpMethod.Get : new HttpMethod(row.Method), row.Path);
        if (row.Method is "POST" or "PATCH"
            && !row.Path.EndsWith("cancel", StringComparison.Ordinal)
            && !row.Path.EndsWith("retry", StringComparison.Ordinal))
        {
            request.Content = row.Path switch
            {
                "/login" or "/logout" => new FormUrlEncodedContent([]),
                "/v1/images/edits" or "/v1/images/variations" => new MultipartFormDataContent
                {
                    { new StringContent("bir gül"), "prompt" },
                    { new ByteArrayContent(Convert.FromBase64String(Photo)), "image", "photo.png" },
                },
                _ => AuthApp.Json(Body(row.Path)),
            };
        }

        using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        return (int)response.StatusCode;
    }

    private static string Body(string path) => path[(path.LastIndexOf('/') + 1)..] switch
    {
        "images" => """{"username":"ayşe","prompt":"bir gül","width":64,"height":64,"steps":4}""",
        "messages" => """{"username":"ayşe","role":"user","content":"selam"}""",
        "tokens" => """{"username":"ayşe"}""",
        "extra-single-image" => $$"""{"image":"{{Photo}}"}""",
        "img2img" => $$"""{"prompt":"bir gül","init_images":["{{Photo}}"],"width":64,"height":64,"steps":1}""",
        "txt2img" => """{"prompt":"bir gül","width":64,"height":64,"steps":1}""",
        "faults" => """{"fault":"slow","times":1}""",
        _ when path.StartsWith("/api/messages", StringComparison.Ordinal) => """{"extra_metadata":{"client":1}}""",
        _ => "{}",
    };

    private sealed record Row(string Method, string Pattern, string Path, Dictionary<string, string> Answers);
}
