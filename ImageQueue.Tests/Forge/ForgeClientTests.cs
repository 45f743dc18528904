using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using ImageQueue.Core.Forge;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>The client against a real server over HTTP, which answers what each test says.</summary>
[TestFixture]
[CancelAfter(20_000)]
[Category(Categories.App)]
public sealed class ForgeClientTests
{
    private static readonly byte[] Image = [0x89, (byte)'P', (byte)'N', (byte)'G', 1, 2, 3, 250];
    private static readonly string ImageBase64 = Convert.ToBase64String(Image);
    private static readonly GenerationRequest Request = new()
    {
        Prompt = "bir kedi, yağlı boya 😀",
        Width = 1024,
        Height = 768,
        Steps = 20,
        CfgScale = 1m,
        DistilledCfgScale = 3.5m,
    };

    private readonly ConcurrentQueue<(string Path, string Body, IHeaderDictionary Headers)> _requests = new();
    private WebApplication _server = null!;
    private ServiceProvider _services = null!;
    private FakeTimeProvider _time = null!;
    private IForgeClient _client = null!;
    private ForgeBackend _backend = null!;
    private Func<HttpContext, Task> _answer = _ => Task.CompletedTask;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _server = builder.Build();
        _server.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var body = await reader.ReadToEndAsync();
            _requests.Enqueue((context.Request.Path + context.Request.QueryString, body, new HeaderDictionary(
                context.Request.Headers.ToDictionary(header => header.Key, header => header.Value))));
            await _answer(context);
        });
        await _server.StartAsync();
    }

    [OneTimeTearDown]
    public async Task StopServer() => await _server.DisposeAsync();

    [SetUp]
    public async Task SetUp()
    {
        _time = new FakeTimeProvider();
        _services = new ServiceCollection()
            .AddSingleton<TimeProvider>(_time)
            .AddLogging()
            .AddForgeClient()
            .BuildServiceProvider();
        _client = _services.GetRequiredService<IForgeClient>();
        _backend = new ForgeBackend("gpu1", new Uri(_server.Urls.Single()));
        await LearnAsync(
            ("/openapi.json", """{"paths":{"/internal/progress":{},"/sdapi/v1/interrupt":{}},"components":{"Txt2Img":{"force_task_id":{}}}}"""),
            ("/internal/pending-tasks", """{"size":0,"tasks":[]}"""),
            ("/sdapi/v1/schedulers", """[{"name":"simple","label":"Simple"}]"""));
    }

    [TearDown]
    public async Task TearDown() => await _services.DisposeAsync();

    [Test]
    public async Task GenerateAsync_SendsForgesNames_WhenOnlyTheLeastIsAsked(CancellationToken cancellationToken)
    {
        AnswerImage();

        await _client.GenerateAsync(_backend, "task-1", Request, cancellationToken);

        var sent = _requests.Single();
        Assert.Multiple(() =>
        {
            Assert.That(sent.Path, Is.EqualTo("/sdapi/v1/txt2img"));
            Assert.That(sent.Headers.ContentType.ToString(), Is.EqualTo("application/json"));
            Assert.That(sent.Headers.ContentLength, Is.EqualTo(sent.Body.Length), "a length, not chunks");
            Assert.That(sent.Headers.AcceptEncoding.ToString(), Does.Contain("gzip"));
            Assert.That(sent.Headers.Authorization.ToString(), Is.Empty);
            Assert.That(Normalized(sent.Body), Is.EqualTo(Normalized("""
                {"prompt":"bir kedi, yağlı boya 😀","width":1024,"height":768,"steps":20,"cfg_scale":1,"distilled_cfg_scale":3.5,
                 "seed":-1,"send_images":true,"save_images":false,"force_task_id":"task-1"}
                """)));
        });
    }

    /// <summary>The rest of the image comes only when the client has said so.</summary>
    [Test]
    public async Task GenerateAsync_SaysThatTheServerIsFree_WhileTheImageIsOnItsWay(CancellationToken cancellationToken)
    {
        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _answer = async context =>
        {
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync("""{"images":[""", cancellationToken);
            await context.Response.Body.FlushAsync(cancellationToken);
            await answered.Task.WaitAsync(cancellationToken);
            await context.Response.WriteAsync($$"""
                "{{ImageBase64}}"],"info":"{}"}
                """, cancellationToken);
        };

        var image = await _client.GenerateAsync(_backend, "task-1", Request, SayAsync, cancellationToken);

        Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));

        Task SayAsync()
        {
            answered.SetResult();
            return Task.CompletedTask;
        }
    }

    /// <summary>The processors are needed for the next request first.</summary>
    [Test]
    public async Task GenerateAsync_UnpacksTheImage_WhenWhoWasToldIsDone(CancellationToken cancellationToken)
    {
        var (told, done) = (new TaskCompletionSource(), new TaskCompletionSource());
        _answer = context => context.Response.WriteAsync($$"""{"images":["{{ImageBase64}}"],"info":"{}"}""", cancellationToken);

        var generating = _client.GenerateAsync(
            _backend,
            "task-1",
            Request,
            () =>
            {
                told.SetResult();
                return done.Task;
            },
            cancellationToken);

        await told.Task.WaitAsync(TimeSpan.FromSeconds(30), cancellationToken);
        Assert.That(generating.IsCompleted, Is.False);
        done.SetResult();
        Assert.That((await generating).Bytes.ToArray(), Is.EqualTo(Image));
    }

    [Test]
    public void GenerateAsync_DoesNotSayThatTheServerIsFree_WhenItFails(CancellationToken cancellationToken)
    {
        var answered = false;
        _answer = context =>
        {
            context.Response.StatusCode = 500;
            return Task.CompletedTask;
        };

        Assert.That(() => _client.GenerateAsync(_backend, "task-1", Request, () => Task.FromResult(answered = true), cancellationToken), Throws.TypeOf<ForgeException>());
        Assert.That(answered, Is.False);
    }

    [Test, SetCulture("tr-TR")]
    public async Task GenerateAsync_SendsEverything_WhenAllIsAskedUnderTurkish(CancellationToken cancellationToken)
    {
        AnswerImage();
        var request = Request with
        {
            Prompt = "p",
            NegativePrompt = "blur",
            CfgScale = 7.25m,
            Sampler = "Euler",
            Scheduler = "Simple",
            Seed = 4294967295,
            Checkpoint = "flux1-dev.safetensors",
            AdditionalModules = ["ae.safetensors", "clip_l.safetensors"],
        };

        await _client.GenerateAsync(_backend, "t", request, cancellationToken);
        await _client.GenerateAsync(_backend, "t", request with { AdditionalModules = [] }, cancellationToken);
        await _client.GenerateAsync(_backend, "t", request with { Checkpoint = null }, cancellationToken);

        var bodies = _requests.Select(sent => Normalized(sent.Body)).ToList();
        Assert.Multiple(() =>
        {
            Assert.That(bodies[0], Is.EqualTo(Normalized("""
                {"prompt":"p","negative_prompt":"blur","width":1024,"height":768,"steps":20,"cfg_scale":7.25,"distilled_cfg_scale":3.5,
                 "sampler_name":"Euler","scheduler":"Simple","seed":4294967295,"send_images":true,"save_images":false,
                 "override_settings":{"sd_model_checkpoint":"flux1-dev.safetensors","forge_additional_modules":["ae.safetensors","clip_l.safetensors"]},
                 "override_settings_restore_afterwards":false,"force_task_id":"t"}
                """)));
            Assert.That(bodies[1], Does.Contain("sd_model_checkpoint").And.Not.Contain("forge_additional_modules"));
            Assert.That(bodies[2], Does.Not.Contain("override_settings"));
        });
    }

    [TestCase("")]
    [TestCase("/simulator")]
    [TestCase("/simulator/")]
    public async Task GenerateAsync_KeepsThePathOfTheAddress_WhenThereIsOne(string path)
    {
        AnswerImage();
        var backend = _backend with { Url = new Uri(_server.Urls.Single() + path) };

        await _client.GenerateAsync(backend, "t", Request, default);

        Assert.That(_requests.Single().Path, Is.EqualTo(path.TrimEnd('/') + "/sdapi/v1/txt2img"));
    }

    [Test]
    public async Task GenerateAsync_SendsCredentials_WhenBackendHasThem(CancellationToken cancellationToken)
    {
        AnswerImage();

        await _client.GenerateAsync(_backend with { Username = "ayşe", Password = "pa:ss" }, "t", Request, cancellationToken);

        Assert.That(
            _requests.Single().Headers.Authorization.ToString(),
            Is.EqualTo("Basic " + Convert.ToBase64String("ayşe:pa:ss"u8)));
    }

    [Test]
    public async Task GenerateAsync_ReadsInfo_WhenItIsJsonInAString(CancellationToken cancellationToken)
    {
        AnswerImage(info: """{"seed":4294967295,"width":1024,"height":768,"sd_model_name":"flux1-dev","sampler_name":"Euler","all_seeds":[1],"infotexts":["a \"b\""]}""");

        var image = await _client.GenerateAsync(_backend, "t", Request, cancellationToken);

        Assert.Multiple(() =>
        {
            Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));
            Assert.That(image.Info, Is.EqualTo(new ForgeImageInfo(4294967295, 1024, 768, "flux1-dev", "Euler")));
        });
    }

    [TestCase("""{"images":["IMG"],"info":{"seed":5}}""", 5)]
    [TestCase("""{"images":["IMG"],"info":"{\"seed\":\"5\",\"width\":-1,\"height\":1e99,\"sd_model_name\":\" \"}"}""", null)]
    public async Task GenerateAsync_ReadsWhatItCan_WhenInfoIsOdd(string body, int? seed)
    {
        Answer(200, body.Replace("IMG", ImageBase64));

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.That(image.Info, Is.EqualTo(new ForgeImageInfo(seed, null, null, null)));
    }

    [TestCase("""{"images":["IMG"]}""")]
    [TestCase("""{"images":["IMG"],"info":""}""")]
    [TestCase("""{"images":["IMG"],"info":"Steps: 20, Sampler: Euler"}""")]
    [TestCase("""{"images":["IMG"],"info":"[1]"}""")]
    [TestCase("""{"images":["IMG"],"info":null}""")]
    [TestCase("""{"images":["IMG"],"info":7}""")]
    [TestCase("""{"images":["IMG"],"info":"\ud800"}""")]
    public async Task GenerateAsync_GivesNoInfo_WhenItIsNotForges(string body)
    {
        Answer(200, body.Replace("IMG", ImageBase64));

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.Multiple(() =>
        {
            Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));
            Assert.That(image.Info, Is.Null);
        });
    }

    [TestCase("data:image/png;base64,IMG")]
    [TestCase("IMG\\n")]
    public async Task GenerateAsync_ReadsTheImage_WhenItIsWrappedOrEscaped(string wire)
    {
        Answer(200, $$"""{"images":["{{wire.Replace("IMG", ImageBase64.Replace("/", "\\/"))}}"]}""");

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));
    }

    [TestCase(1, "AAAA", "IMG")]
    [TestCase(0, "IMG", "AAAA")]
    [TestCase(9, "IMG", "AAAA")]
    [TestCase(-1, "IMG", "AAAA")]
    public async Task GenerateAsync_SkipsTheGrid_WhenItComesFirst(int first, string one, string two)
    {
        Answer(200, $$$"""{"images":["{{{one}}}","{{{two}}}"],"info":"{\"index_of_first_image\":{{{first}}}}"}""".Replace("IMG", ImageBase64));

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task GenerateAsync_ReadsMegabytes_WhenGzippedOrNot(bool gzip)
    {
        var large = new byte[20 * 1024 * 1024 + 1];
        Random.Shared.NextBytes(large.AsSpan(0, 100_000));
        var body = Encoding.UTF8.GetBytes($$"""{"images":["{{Convert.ToBase64String(large)}}"],"parameters":{},"info":"{}"}""");
        _answer = async context =>
        {
            if (gzip)
            {
                context.Response.Headers.ContentEncoding = "gzip";
                await using var stream = new GZipStream(context.Response.Body, CompressionLevel.Fastest);
                await stream.WriteAsync(body);
            }
            else
            {
                await context.Response.Body.WriteAsync(body);
            }
        };

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.That(image.Bytes.Span.SequenceEqual(large), Is.True);
    }

    [TestCase("""{"images":[]}""", "the answer holds no image")]
    [TestCase("""{"images":null}""", "the answer holds no image")]
    [TestCase("""{"info":""}""", "the answer holds no image")]
    [TestCase("""["IMG"]""", "the answer holds no image")]
    [TestCase("""{"error":"no model is loaded"}""", "no model is loaded")]
    [TestCase("""{"images":[""]}""", "the image in the answer is empty or not base64")]
    [TestCase("""{"images":[null]}""", "the image in the answer is empty or not base64")]
    [TestCase("""{"images":["data:image/png;base64,"]}""", "the image in the answer is empty or not base64")]
    [TestCase("""{"images":["what is this?"]}""", "the image in the answer is empty or not base64")]
    [TestCase("""{"images":["iVBORw0KGgoAAAANSU""", "the answer is not JSON, or was cut short")]
    [TestCase("", "the answer is empty")]
    public void GenerateAsync_SaysBadImage_When200HoldsNone(string body, string reason)
    {
        Answer(200, body);

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.Reason), Is.EqualTo((ForgeFailure.BadImage, reason)));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void GenerateAsync_SaysBadImage_WhenConnectionBreaksInTheBody(bool gzip)
    {
        _answer = async context =>
        {
            var body = Encoding.UTF8.GetBytes($$"""{"images":["{{new string('A', 100_000)}}""");
            if (gzip)
            {
                context.Response.Headers.ContentEncoding = "gzip";
                using var compressed = new MemoryStream();
                await using (var stream = new GZipStream(compressed, CompressionLevel.NoCompression))
                    await stream.WriteAsync(body);
                body = compressed.ToArray()[..^5000];
            }
            else
            {
                context.Response.ContentLength = 1_000_000;
            }

            await context.Response.Body.WriteAsync(body);
            await context.Response.Body.FlushAsync();
            if (!gzip)
                context.Abort();
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.Multiple(() =>
        {
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.BadImage));
            Assert.That(exception.Reason, Does.Contain("cut short"));
        });
    }

    [TestCase(200)]
    [TestCase(500)]
    public void GenerateAsync_GivesUpReading_WhenTheBodyIsEndless(int status)
    {
        _answer = async context =>
        {
            context.Response.StatusCode = status;
            context.Response.ContentLength = 300L * 1024 * 1024;
            await context.Response.StartAsync();
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That(
            (exception!.Failure, exception.Reason),
            Is.EqualTo(status == 200
                ? (ForgeFailure.BadImage, "the answer is longer than 256 MB")
                : (ForgeFailure.Failed, "gpu1 answered 500 Internal Server Error")));
    }

    // The body forms, server by server.
    [TestCase(500, """{"error":"RuntimeError","detail":"","body":"","message":"boom"}""", ForgeFailure.Failed, "boom", TestName = "Forge")]
    [TestCase(500, """{"error":"RuntimeError","detail":"","body":"","errors":"boom"}""", ForgeFailure.Failed, "boom", TestName = "reForge, A1111, classic")]
    [TestCase(500, """{"error":"AssertionError","detail":"","body":"","message":""}""", ForgeFailure.Failed, "AssertionError", TestName = "Forge without a message")]
    [TestCase(500, """{"detail":{"msg":"boom","type":"server_error"}}""", ForgeFailure.Failed, "boom", TestName = "KoboldCpp")]
    [TestCase(500, """{"error":"generate failed","message":"boom"}""", ForgeFailure.Failed, "boom", TestName = "sd-server 500")]
    [TestCase(400, """{"error":"unknown sampler"}""", ForgeFailure.Rejected, "unknown sampler", TestName = "sd-server 400")]
    [TestCase(500, "Internal Server Error", ForgeFailure.Failed, "Internal Server Error", TestName = "plain text")]
    [TestCase(500, "", ForgeFailure.Failed, "gpu1 answered 500 Internal Server Error", TestName = "nothing")]
    [TestCase(500, "{}", ForgeFailure.Failed, "gpu1 answered 500 Internal Server Error", TestName = "an empty object")]
    [TestCase(500, """{"error":"OutOfMemoryError","detail":"","body":"","message":"CUDA out of memory. Tried to allocate 2 GiB"}""", ForgeFailure.OutOfMemory, "CUDA out of memory. Tried to allocate 2 GiB", TestName = "Forge out of memory")]
    [TestCase(500, """{"error":"OutOfMemoryError","message":""}""", ForgeFailure.OutOfMemory, "OutOfMemoryError", TestName = "out of memory by type")]
    [TestCase(500, """{"error":"RuntimeError","errors":"HIP out of memory"}""", ForgeFailure.OutOfMemory, "HIP out of memory", TestName = "out of memory on AMD")]
    [TestCase(500, "torch.cuda.OutOfMemoryError: Allocation on device 0", ForgeFailure.OutOfMemory, "torch.cuda.OutOfMemoryError: Allocation on device 0", TestName = "out of memory in plain text")]
    [TestCase(501, "no", ForgeFailure.Failed, "no", TestName = "501")]
    [TestCase(422, """{"detail":[{"loc":["body","steps"],"msg":"Input should be a valid integer","type":"int_parsing"},{"loc":["body","override_settings",0],"msg":"wrong","type":"x"}]}""", ForgeFailure.Rejected, "steps: Input should be a valid integer; override_settings.0: wrong", TestName = "422 list")]
    [TestCase(422, """{"detail":"Sampler not known"}""", ForgeFailure.Rejected, "Sampler not known", TestName = "422 text")]
    [TestCase(422, """{"detail":[{"loc":["body"],"msg":"field required"}, 7, "and more"]}""", ForgeFailure.Rejected, "field required; and more", TestName = "422 odd list")]
    [TestCase(401, """{"detail":"Incorrect username or password"}""", ForgeFailure.Unavailable, "it refuses the user and password (Forge:Backends:n:Username and Password)", TestName = "401")]
    [TestCase(403, "<html><head><title>403 Forbidden</title></head><body>x</body></html>", ForgeFailure.Disrupted, "a proxy before it refuses the request: 403 Forbidden", TestName = "403 page of a firewall")]
    [TestCase(404, """{"detail":"Not Found"}""", ForgeFailure.Unavailable, "its API is off (start Forge with --api) or not up yet", TestName = "404, API not up")]
    [TestCase(404, """{"detail":"Model not found"}""", ForgeFailure.Rejected, "Model not found", TestName = "404 for a model")]
    [TestCase(404, "<html><title>404: sampler</title></html>", ForgeFailure.Unavailable, "its API is off (start Forge with --api) or not up yet", TestName = "404 page")]
    [TestCase(400, "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>", ForgeFailure.Disrupted, "a proxy before it refuses the request: 400 The plain HTTP request was sent to HTTPS port", TestName = "400 page")]
    [TestCase(500, "<html><title>500 Internal Server Error</title></html>", ForgeFailure.Disrupted, "500 Internal Server Error", TestName = "500 page of a proxy")]
    [TestCase(405, """{"detail":"Method Not Allowed"}""", ForgeFailure.Unavailable, "Method Not Allowed", TestName = "405")]
    [TestCase(407, "", ForgeFailure.Unavailable, "gpu1 answered 407 Proxy Authentication Required", TestName = "407")]
    [TestCase(408, "", ForgeFailure.GatewayTimeout, "a proxy before it gave up after 0 s (408 Request Timeout); raise its time-out (nginx: proxy_read_timeout, Apache: ProxyTimeout, HAProxy: timeout server, Traefik: forwardingTimeouts.responseHeaderTimeout, Caddy: response_header_timeout) above Forge:Timeout", TestName = "408")]
    [TestCase(413, "", ForgeFailure.Disrupted, "gpu1 answered 413 Payload Too Large; raise its limit for request bodies (nginx: client_max_body_size)", TestName = "413")]
    [TestCase(425, "", ForgeFailure.Unavailable, "gpu1 answered 425", TestName = "425")]
    [TestCase(429, """{"detail":"slow down"}""", ForgeFailure.Unavailable, "slow down", TestName = "429")]
    [TestCase(520, "", ForgeFailure.Disrupted, "gpu1 answered 520", TestName = "520")]
    [TestCase(524, "error code: 524", ForgeFailure.GatewayTimeout, "Cloudflare gave up after 0 s (524); its limit is 100 s, higher in Enterprise plans only: lower Forge:Timeout, or reach Forge past Cloudflare (DNS only)", TestName = "524")]
    [TestCase(500, """{"error":"RuntimeError","message":"CUDA error: unspecified launch failure\nCUDA kernel errors might be..."}""", ForgeFailure.Disrupted, "CUDA error: unspecified launch failure CUDA kernel errors might be...", TestName = "CUDA error")]
    [TestCase(500, """{"error":"AcceleratorError","errors":"CUDA error: device-side assert triggered"}""", ForgeFailure.Disrupted, "CUDA error: device-side assert triggered", TestName = "device-side assert")]
    [TestCase(500, """{"error":"RuntimeError","message":"HIP error: an illegal memory access was encountered"}""", ForgeFailure.Disrupted, "HIP error: an illegal memory access was encountered", TestName = "HIP error")]
    [TestCase(500, """{"error":"RuntimeError","message":"CUDA error: out of memory"}""", ForgeFailure.OutOfMemory, "CUDA error: out of memory", TestName = "CUDA error that is only memory")]
    [TestCase(404, """{"error":"HTTPException","detail":"Sampler not found","body":"","errors":""}""", ForgeFailure.Rejected, "Sampler not found", TestName = "404 of forge-classic for a sampler")]
    [TestCase(500, """{"error":"AttributeError","message":"'NoneType' object has no attribute 'sd_checkpoint_info'"}""", ForgeFailure.Disrupted, "'NoneType' object has no attribute 'sd_checkpoint_info'", TestName = "500 after a failed model load")]
    [TestCase(500, """{"error":"RuntimeError","message":"You do not have any model!"}""", ForgeFailure.Unavailable, "You do not have any model!", TestName = "500 without any model")]
    [TestCase(403, """{"message":"Forbidden"}""", ForgeFailure.Disrupted, "Forbidden", TestName = "403 of an API gateway")]
    [TestCase(502, "<html>\n<body><style>p{}</style><h1>Bad&nbsp;Gateway</h1><p>nginx &amp; co</p></body></html>", ForgeFailure.Disrupted, "Bad Gateway nginx & co", TestName = "502 page")]
    [TestCase(503, """{"detail":{"msg":"Server is busy; please try again later.","type":"service_unavailable"}}""", ForgeFailure.Unavailable, "Server is busy; please try again later.", TestName = "503 of KoboldCpp")]
    [TestCase(504, "", ForgeFailure.GatewayTimeout, "a proxy before it gave up after 0 s (504 Gateway Timeout); raise its time-out (nginx: proxy_read_timeout, Apache: ProxyTimeout, HAProxy: timeout server, Traefik: forwardingTimeouts.responseHeaderTimeout, Caddy: response_header_timeout) above Forge:Timeout", TestName = "504")]
    [TestCase(204, "", ForgeFailure.BadImage, "gpu1 answered 204 No Content", TestName = "204")]
    public void GenerateAsync_SaysWhatTheServerSaid_WhenItAnswers(int status, string body, ForgeFailure failure, string reason)
    {
        Answer(status, body);

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.Reason), Is.EqualTo((failure, reason)));
    }

    [TestCase(504, "Server", "nginx/1.24.0", "", "nginx gave up after 60 s (504 Gateway Timeout); raise proxy_read_timeout above Forge:Timeout")]
    [TestCase(504, "Via", "1.1 Caddy", "", "Caddy gave up after 60 s (504 Gateway Timeout); raise response_header_timeout of reverse_proxy's transport above Forge:Timeout")]
    [TestCase(504, "Server", "Apache/2.4.58", "<html><title>504 Gateway Timeout</title></html>", "Apache gave up after 60 s (504 Gateway Timeout); raise ProxyTimeout above Forge:Timeout")]
    [TestCase(504, "Content-Type", "text/html", "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>", "HAProxy gave up after 60 s (504 Gateway Timeout); raise timeout server above Forge:Timeout")]
    [TestCase(504, "Content-Type", "text/plain", "Gateway Timeout", "Traefik gave up after 60 s (504 Gateway Timeout); raise forwardingTimeouts.responseHeaderTimeout above Forge:Timeout")]
    [TestCase(524, "cf-ray", "8f2d1c-IST", "", "Cloudflare (ray 8f2d1c-IST) gave up after 60 s (524); its limit is 100 s, higher in Enterprise plans only: lower Forge:Timeout, or reach Forge past Cloudflare (DNS only)")]
    [TestCase(408, "Server", "awselb/2.0", "", "AWS load balancer gave up after 60 s (408 Request Timeout); raise its idle timeout above Forge:Timeout")]
    public void GenerateAsync_NamesProxyAndSetting_WhenAGatewayTimesOut(int status, string header, string value, string body, string reason)
    {
        _answer = context =>
        {
            _time.Advance(TimeSpan.FromSeconds(60));
            context.Response.Headers[header] = value;
            return WriteAsync(context, status, body);
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.Reason, exception.MayStillBeRunning), Is.EqualTo((ForgeFailure.GatewayTimeout, reason, true)));
    }

    [Test]
    public void GenerateAsync_SaysDisrupted_WhenA503ComesLate()
    {
        _answer = context =>
        {
            _time.Advance(TimeSpan.FromSeconds(30));
            return WriteAsync(context, 503, "");
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.MayStillBeRunning), Is.EqualTo((ForgeFailure.Disrupted, true)));
    }

    [TestCase("Server", "cloudflare", "Cloudflare refuses the request: Attention Required! | Cloudflare")]
    [TestCase("Server", "nginx", "nginx refuses the request: Attention Required! | Cloudflare")]
    public void GenerateAsync_NamesTheFirewall_WhenItRefusesThePrompt(string header, string value, string reason)
    {
        _answer = context =>
        {
            context.Response.Headers[header] = value;
            return WriteAsync(context, 403, "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>Sorry, you have been blocked</body></html>");
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.Reason, exception.MayStillBeRunning), Is.EqualTo((ForgeFailure.Disrupted, reason, false)));
    }

    [TestCase(502)]
    [TestCase(504)]
    public void GetProgressAsync_SaysUnavailable_WhenAProxyAnswers(int status)
    {
        Answer(status, "<html></html>");

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GetProgressAsync(_backend, "t", false, default));

        Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.Unavailable));
    }

    [Test]
    public void GenerateAsync_ShortensTheReason_WhenItIsLong()
    {
        Answer(500, JsonSerializer.Serialize(new { message = "x" + string.Concat(Enumerable.Repeat("😀", 4000)) + "\n\0 end" }));

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.Multiple(() =>
        {
            Assert.That(exception!.Reason, Has.Length.LessThanOrEqualTo(300));
            Assert.That(exception.Reason, Does.EndWith("😀…"));
        });
    }

    [Test]
    public void GenerateAsync_FollowsNoRedirect_WhenTheAddressIsAnother()
    {
        _answer = context =>
        {
            context.Response.Redirect("https://gpu1/sdapi/v1/txt2img");
            return Task.CompletedTask;
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.Multiple(() =>
        {
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.Unavailable));
            Assert.That(exception.Reason, Does.Contain("https://gpu1/").And.Contain("Forge:Backends:n:Url"));
            Assert.That(_requests, Has.Count.EqualTo(1));
        });
    }

    [Test]
    public void AllCalls_SayUnavailable_WhenRefused()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        AssertUnavailable(port, "connection refused", wasSent: false);
    }

    [Test]
    public async Task GenerateAsync_SaysDisruptedAndSmallCallsUnavailable_WhenResetOrClosedBeforeAStatus([Values] bool reset)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var stop = new CancellationTokenSource();
        var serving = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                using var socket = await listener.AcceptSocketAsync(stop.Token);
                _ = await socket.ReceiveAsync(new byte[100_000], stop.Token);
                if (reset)
                    socket.LingerState = new LingerOption(true, 0);
            }
        });

        AssertUnavailable(
            ((IPEndPoint)listener.LocalEndpoint).Port,
            reset ? "connection reset" : "it closed the connection without an answer",
            wasSent: true);

        await stop.CancelAsync();
        Assert.CatchAsync<OperationCanceledException>(() => serving);
    }

    [Test]
    public void GenerateAsync_SaysDisrupted_WhenTheAnswerIsNotHttp()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = Task.Run(async () =>
        {
            using var socket = await listener.AcceptSocketAsync();
            await socket.SendAsync("SSH-2.0-OpenSSH_9\r\n"u8.ToArray());
            _ = await socket.ReceiveAsync(new byte[100_000]);
        });
        var backend = _backend with { Url = new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}") };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(backend, "t", Request, default));

        Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.Disrupted));
    }

    [Test]
    public async Task GenerateAsync_IsCancelled_WhenTheCallerGivesUp([Values("before", "in headers", "in body", "in an error's body")] string when)
    {
        using var cancel = new CancellationTokenSource();
        var reached = new TaskCompletionSource();
        _answer = async context =>
        {
            if (when.Contains("body", StringComparison.Ordinal))
            {
                context.Response.StatusCode = when == "in body" ? 200 : 500;
                await context.Response.WriteAsync("""{"images":[""");
                await context.Response.Body.FlushAsync();
            }

            reached.SetResult();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        };
        if (when == "before")
            await cancel.CancelAsync();

        var generating = _client.GenerateAsync(_backend, "t", Request, cancel.Token);
        if (when != "before")
            await reached.Task;
        await cancel.CancelAsync();

        Assert.CatchAsync<OperationCanceledException>(() => generating);
    }

    [Test]
    public async Task GenerateAsync_WaitsOn_WhenForgeTakesLong(CancellationToken cancellationToken)
    {
        var release = new TaskCompletionSource();
        _answer = async context =>
        {
            await release.Task;
            await context.Response.WriteAsync($$"""{"images":["{{ImageBase64}}"]}""");
        };
        var generating = _client.GenerateAsync(_backend, "t", Request, cancellationToken);

        _time.Advance(TimeSpan.FromHours(3));
        await Task.Delay(20, cancellationToken);
        Assert.That(generating.IsCompleted, Is.False);
        release.SetResult();

        Assert.That((await generating).Bytes.Length, Is.EqualTo(Image.Length));
    }

    [TestCase("""{"active":true,"queued":false,"completed":false,"progress":0.42,"eta":3.1,"id_live_preview":-1}""", ForgeTaskState.Active, 0.42)]
    [TestCase("""{"active":true,"queued":false,"completed":false,"progress":null}""", ForgeTaskState.Active, null)]
    [TestCase("""{"active":true,"progress":1.7}""", ForgeTaskState.Active, 1.0)]
    [TestCase("""{"active":false,"queued":true,"completed":false,"textinfo":"In queue: 1/2"}""", ForgeTaskState.Queued, null)]
    [TestCase("""{"active":false,"queued":false,"completed":true}""", ForgeTaskState.Completed, null)]
    [TestCase("""{"active":false,"queued":false,"completed":false,"progress":0.9}""", ForgeTaskState.Unknown, null)]
    public async Task GetProgressAsync_ReadsTheTask_WhenForgeKnowsIt(string body, ForgeTaskState state, double? fraction)
    {
        Answer(200, body);

        var progress = await _client.GetProgressAsync(_backend, "task-1", withPreview: false, default);

        Assert.Multiple(() =>
        {
            Assert.That(progress, Is.EqualTo(new ForgeProgress(state, fraction)));
            Assert.That(_requests.Single().Path, Is.EqualTo("/internal/progress"));
            Assert.That(_requests.Single().Body, Is.EqualTo("""{"id_task":"task-1","id_live_preview":-1,"live_preview":false}"""));
        });
    }

    [TestCase("data:image/jpeg;base64,IMG", true)]
    [TestCase("IMG", true)]
    [TestCase("", false)]
    [TestCase("!!", false)]
    public async Task GetProgressAsync_DecodesThePreview_WhenAskedFor(string preview, bool expected)
    {
        Answer(200, $$"""{"active":true,"progress":0.5,"live_preview":"{{preview.Replace("IMG", ImageBase64)}}"}""");

        var progress = await _client.GetProgressAsync(_backend, "t", withPreview: true, default);

        Assert.Multiple(() =>
        {
            Assert.That(progress.PreviewImage?.ToArray(), expected ? Is.EqualTo(Image) : Is.Null);
            Assert.That(_requests.Single().Body, Does.Contain("\"live_preview\":true"));
        });
    }

    [Test]
    public async Task GetProgressAsync_AsksForNewerPreviewsOnly_WhenItHasOne()
    {
        Answer(200, $$"""{"active":true,"progress":0.5,"live_preview":"{{ImageBase64}}","id_live_preview":7}""");

        var first = await _client.GetProgressAsync(_backend, "t", withPreview: true, default);
        await _client.GetProgressAsync(_backend, "t", withPreview: true, default);
        await _client.GetProgressAsync(_backend, "t", withPreview: false, default);
        await _client.GetProgressAsync(_backend, "another", withPreview: true, default);

        Assert.Multiple(() =>
        {
            Assert.That(first.PreviewId, Is.EqualTo(7));
            Assert.That(
                _requests.Select(request => request.Body),
                Is.EqualTo(new[]
                {
                    """{"id_task":"t","id_live_preview":-1,"live_preview":true}""",
                    """{"id_task":"t","id_live_preview":7,"live_preview":true}""",
                    """{"id_task":"t","id_live_preview":-1,"live_preview":false}""",
                    """{"id_task":"another","id_live_preview":-1,"live_preview":true}""",
                }));
        });
    }

    [TestCase("""{"progress":0.0,"state":{"job":"","job_count":0,"sampling_step":19},"current_image":null}""", ForgeTaskState.Unknown, null)]
    [TestCase("""{"progress":0.31,"state":{"job":"txt2img","job_count":1}}""", ForgeTaskState.Active, 0.31)]
    [TestCase("""{"progress":0,"state":{"job":"scripts_txt2img"}}""", ForgeTaskState.Active, 0.0)]
    [TestCase("""{"progress":0.5}""", ForgeTaskState.Active, 0.5)]
    public async Task GetProgressAsync_AsksTheWholeServer_WhenTasksAreNotKnown(string body, ForgeTaskState state, double? fraction)
    {
        await LearnAsync(("/sdapi/v1/progress", body));
        AnswerByPath(("/sdapi/v1/progress", 200, body));

        var first = await _client.GetProgressAsync(_backend, "t", withPreview: true, default);
        var second = await _client.GetProgressAsync(_backend, "t", withPreview: true, default);

        Assert.Multiple(() =>
        {
            Assert.That(first, Is.EqualTo(new ForgeProgress(state, fraction) { Source = ForgeProgressSource.Server }));
            Assert.That(second, Is.EqualTo(first));
            Assert.That(Paths(), Is.EqualTo("/sdapi/v1/progress?skip_current_image=true /sdapi/v1/progress?skip_current_image=true"));
        });
    }

    [Test]
    public async Task GetProgressAsync_AsksNoMore_WhenTheServerHasLostIt(CancellationToken cancellationToken)
    {
        // It was there when the server came up: restarted with other flags since.
        Answer(404, """{"detail":"Not Found"}""");

        for (var i = 0; i < 3; i++)
        {
            var progress = await _client.GetProgressAsync(_backend, "t", false, cancellationToken);
            Assert.That(progress, Is.EqualTo(new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.None }));
        }

        Assert.That(Paths(), Is.EqualTo("/internal/progress"));
        await LearnAsync(("/internal/pending-tasks", "{}"));
        Answer(200, """{"active":true,"progress":0.5}""");
        Assert.That((await _client.GetProgressAsync(_backend, "t", false, cancellationToken)).State, Is.EqualTo(ForgeTaskState.Active));
    }

    [Test]
    public async Task GetProgressAsync_TakesItForAbsent_WhenAPageAnswersEveryPath(CancellationToken cancellationToken)
    {
        Answer(200, "<html>single page app</html>");

        var progress = await _client.GetProgressAsync(_backend, "t", false, cancellationToken);

        Assert.That(progress.State, Is.EqualTo(ForgeTaskState.Unknown));
    }

    [Test]
    public async Task GetProgressAsync_RemembersEachServerApart_WhenThereAreTwo(CancellationToken cancellationToken)
    {
        AnswerByPath(("/b/internal/progress", 200, """{"active":true}"""), ("/b/internal/pending-tasks", 200, "{}"));
        var b = _backend with { Url = new Uri(_server.Urls.Single() + "/b") };

        var ofA = await _client.GetProgressAsync(_backend, "t", false, cancellationToken);
        var ofB = await _client.GetProgressAsync(b, "t", false, cancellationToken);

        Assert.That((ofA.State, ofB.State), Is.EqualTo((ForgeTaskState.Unknown, ForgeTaskState.Active)));
    }

    [TestCase(401, ForgeFailure.Unavailable)]
    [TestCase(422, ForgeFailure.Rejected)]
    [TestCase(500, ForgeFailure.Failed)]
    [TestCase(503, ForgeFailure.Unavailable)]
    public void GetProgressAsync_Throws_WhenServerIsInTrouble(int status, ForgeFailure failure)
    {
        Answer(status, "");

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GetProgressAsync(_backend, "t", false, default));

        Assert.That(exception!.Failure, Is.EqualTo(failure));
    }

    [Test]
    public async Task ShortCalls_SayUnavailable_WhenThereIsNoAnswerInTime([Values("progress", "interrupt", "probe")] string call, [Values] bool inBody)
    {
        var reached = new TaskCompletionSource();
        _answer = async context =>
        {
            if (inBody)
            {
                await context.Response.WriteAsync("{");
                await context.Response.Body.FlushAsync();
            }

            reached.SetResult();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        };
        Task<ForgeException?> outcome = call switch
        {
            "progress" => Outcome(_client.GetProgressAsync(_backend, "t", false, default)),
            "interrupt" => Outcome(_client.InterruptAsync(_backend, "t", default)),
            _ => Outcome(_client.IsHealthyAsync(_backend, default)),
        };

        await reached.Task;
        _time.Advance(TimeSpan.FromSeconds(5));
        var exception = await outcome;

        if (call == "probe")
        {
            Assert.That(_client.WhyUnhealthy(_backend), Is.EqualTo("gpu1 did not answer within 5 s"));
        }
        else
        {
            Assert.That(
                (exception!.Failure, exception.Reason),
                Is.EqualTo((ForgeFailure.Unavailable, "gpu1 did not answer within 5 s")));
        }
    }

    [Test]
    public async Task ShortCalls_AreCancelled_WhenTheCallerGivesUp()
    {
        using var cancel = new CancellationTokenSource();
        var reached = new SemaphoreSlim(0);
        _answer = async context =>
        {
            reached.Release();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        };
        Task[] calls =
        [
            _client.GetProgressAsync(_backend, "t", false, cancel.Token),
            _client.InterruptAsync(_backend, "t", cancel.Token),
            _client.IsHealthyAsync(_backend, cancel.Token),
        ];
        for (var i = 0; i < calls.Length; i++)
            await reached.WaitAsync();

        await cancel.CancelAsync();

        foreach (var call in calls)
            Assert.CatchAsync<OperationCanceledException>(() => call);
    }

    [TestCase("""{"active":true}""", true)]
    [TestCase("""{"active":false,"queued":true}""", false)]
    [TestCase("""{"active":false,"completed":true}""", false)]
    [TestCase("""{"active":false}""", false)]
    public async Task InterruptAsync_InterruptsOnly_WhenOurTaskIsActive(string progress, bool expected)
    {
        AnswerByPath(("/internal/progress", 200, progress), ("/sdapi/v1/interrupt", 200, "{}"));

        var sent = await _client.InterruptAsync(_backend, "task-1", default);

        Assert.Multiple(() =>
        {
            Assert.That(sent, Is.EqualTo(expected));
            Assert.That(Paths(), Is.EqualTo(expected ? "/internal/progress /sdapi/v1/interrupt" : "/internal/progress"));
            Assert.That(_requests.First().Body, Does.Contain("\"id_task\":\"task-1\""));
        });
    }

    [TestCase(false, """{"progress":0.5,"state":{"job":"txt2img"}}""", true)]
    [TestCase(false, """{"progress":0,"state":{"job":"","job_count":0}}""", false)]
    [TestCase(true, """{"progress":0.5,"state":{"job":"txt2img"}}""", false, Description = "it may be another person's image")]
    public async Task InterruptAsync_GoesByTheWholeServer_WhenTasksAreNotKnown(bool shared, string progress, bool expected)
    {
        _backend = _backend with { Shared = shared };
        await LearnAsync(("/sdapi/v1/progress", progress));
        AnswerByPath(("/sdapi/v1/progress", 200, progress), ("/sdapi/v1/interrupt", 200, "{}"));

        Assert.That(await _client.InterruptAsync(_backend, "t", default), Is.EqualTo(expected));
        Assert.That(_requests.Any(request => request.Path == "/sdapi/v1/interrupt"), Is.EqualTo(expected));
    }

    [TestCase(404, false)]
    [TestCase(204, true)]
    public async Task InterruptAsync_SaysWhetherItWasTaken_WhenServersDiffer(int status, bool expected)
    {
        AnswerByPath(("/internal/progress", 200, """{"active":true}"""), ("/sdapi/v1/interrupt", status, ""));

        Assert.That(await _client.InterruptAsync(_backend, "t", default), Is.EqualTo(expected));
    }

    [TestCase(200, """[{"name":"Euler","aliases":["k_euler"],"options":{}}]""", null)]
    [TestCase(200, "[]", "it has no sampler: no image model is loaded")]
    [TestCase(200, "<html>please sign in</html>", "its answer is not that of Forge's API; is the address right?")]
    [TestCase(404, """{"detail":"Not Found"}""", "its API is off (start Forge with --api) or not up yet")]
    [TestCase(401, """{"detail":"Incorrect username or password"}""", "it refuses the user and password (Forge:Backends:n:Username and Password)")]
    [TestCase(502, "", "gpu1 answered 502 Bad Gateway")]
    [TestCase(500, """{"message":"boom"}""", "boom")]
    public async Task IsHealthyAsync_LooksForTheImageApi_WhenAsked(int status, string body, string? why)
    {
        Answer(status, body);

        var healthy = await _client.IsHealthyAsync(_backend, default);

        Assert.Multiple(() =>
        {
            Assert.That(healthy, Is.EqualTo(why is null));
            Assert.That(_client.WhyUnhealthy(_backend), Is.EqualTo(why));
            Assert.That(Paths(), Is.EqualTo("/sdapi/v1/samplers"));
        });
    }

    /// <param name="wasSent">Whether the connection breaks only after the request was sent, which disrupts a generation.</param>
    private void AssertUnavailable(int port, string reason, bool wasSent)
    {
        var backend = _backend with { Url = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}")) };
        Assert.Multiple(async () =>
        {
            foreach (var (call, isGeneration) in ((Func<Task>, bool)[])
                [
                    (() => _client.GenerateAsync(backend, "t", Request, default), true),
                    (() => _client.GetProgressAsync(backend, "t", false, default), false),
                    (() => _client.InterruptAsync(backend, "t", default), false),
                ])
            {
                var exception = Assert.ThrowsAsync<ForgeException>(call);
                Assert.That(
                    (exception!.Failure, exception.Reason, exception.MayStillBeRunning),
                    Is.EqualTo(wasSent && isGeneration
                        ? (ForgeFailure.Disrupted, $"gpu1 broke off: {reason}", true)
                        : (ForgeFailure.Unavailable, $"gpu1 could not be reached: {reason}", wasSent)));
                Assert.That(exception.InnerException, Is.Not.Null);
            }

            Assert.That(await _client.IsHealthyAsync(backend, default), Is.False);
            Assert.That(_client.WhyUnhealthy(backend), Is.EqualTo($"gpu1 could not be reached: {reason}"));
        });
    }

    /// <summary>What the server shows of itself; all else is not there.</summary>
    private async Task LearnAsync(params (string Path, string Body)[] answers)
    {
        AnswerByPath([("/sdapi/v1/samplers", 200, "[]"), .. answers.Select(answer => (answer.Path, 200, answer.Body))]);
        await _client.LearnAsync(_backend, default);
        _requests.Clear();
    }

    private void AnswerImage(string info = "{}") => Answer(
        200, JsonSerializer.Serialize(new { images = new[] { ImageBase64 }, parameters = new { }, info }));

    private void Answer(int status, string body) => _answer = context => WriteAsync(context, status, body);

    private void AnswerByPath(params (string Path, int Status, string Body)[] answers) => _answer = context =>
    {
        foreach (var (path, status, body) in answers)
        {
            if (context.Request.Path == path)
                return WriteAsync(context, status, body);
        }

        return WriteAsync(context, 404, """{"detail":"Not Found"}""");
    };

    private static async Task WriteAsync(HttpContext context, int status, string body)
    {
        context.Response.StatusCode = status;
        if (status != 204)
            await context.Response.WriteAsync(body);
    }

    private static async Task<ForgeException?> Outcome(Task call)
    {
        try
        {
            await call;
            return null;
        }
        catch (ForgeException exception)
        {
            return exception;
        }
    }

    private string Paths() => string.Join(' ', _requests.Select(request => request.Path));

    private static string Normalized(string json)
    {
        using var document = JsonDocument.Parse(json);
        return JsonSerializer.Serialize(document.RootElement);
    }
}
