using System.Collections.Concurrent;
using System.IO.Compression;
using ImageQueue.Core.Forge;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>The client against a real server over HTTP, which answers what each test says.</summary>
[TestFixture]
[CancelAfter(20_000)]
[Category(Categories.App)]
public sealed partial class ForgeClientTests
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
            (
                "/openapi.json",
                """{"paths":{"/internal/progress":{},"/sdapi/v1/interrupt":{}},"components":{"Txt2Img":{"force_task_id":{}}}}"""),
            ("/internal/pending-tasks", """{"size":0,"tasks":[]}"""),
            ("/sdapi/v1/schedulers", """[{"name":"simple","label":"Simple"}]"""));
    }

    [TearDown]
    public async Task TearDown() => await _services.DisposeAsync();

    [Test]
    public async Task GenerateAsync_SendsForgesNames_WhenTheRequestIsMinimal(CancellationToken cancellationToken)
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
    public async Task GenerateAsync_ReportsTheBackendFree_WhileTheImageIsReceived(CancellationToken cancellationToken)
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
    public async Task GenerateAsync_DecodesTheImage_WhenTheCallbackHasEnded(CancellationToken cancellationToken)
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
    public void GenerateAsync_DoesNotReportTheBackendFree_WhenItFails(CancellationToken cancellationToken)
    {
        var answered = false;
        _answer = context =>
        {
            context.Response.StatusCode = 500;
            return Task.CompletedTask;
        };

        Assert.That(
            () => _client.GenerateAsync(_backend, "task-1", Request, () => Task.FromResult(answered = true), cancellationToken),
            Throws.TypeOf<ForgeException>());
        Assert.That(answered, Is.False);
    }

    [Test, SetCulture("tr-TR")]
    public async Task GenerateAsync_SendsEverySetting_WhenTheCultureIsTurkish(CancellationToken cancellationToken)
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
                 "override_settings":{"sd_model_checkpoint":"flux1-dev.safetensors","forge_additional_modules":["ae.safetensors",
                     "clip_l.safetensors"]},
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
        AnswerImage(
            info: """{"seed":4294967295,"sd_model_name":"flux1-dev","sampler_name":"Euler","all_seeds":"""
                + """[1],"infotexts":["a \"b\""]}""");

        var image = await _client.GenerateAsync(_backend, "t", Request, cancellationToken);

        Assert.Multiple(() =>
        {
            Assert.That(image.Bytes.ToArray(), Is.EqualTo(Image));
            Assert.That(image.Info, Is.EqualTo(new ForgeImageInfo(4294967295, "flux1-dev", "Euler", null, "a \"b\"")));
        });
    }

    [TestCase("""{"images":["IMG"],"info":{"seed":5}}""", 5)]
    [TestCase("""{"images":["IMG"],"info":"{\"seed\":\"5\",\"sd_model_name\":\" \"}"}""", null)]
    public async Task GenerateAsync_ReadsWhatItCan_WhenInfoIsOdd(string body, int? seed)
    {
        Answer(200, body.Replace("IMG", ImageBase64));

        var image = await _client.GenerateAsync(_backend, "t", Request, default);

        Assert.That(image.Info, Is.EqualTo(new ForgeImageInfo(seed, null)));
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
        Answer(
            200, $$$"""{"images":["{{{one}}}","{{{two}}}"],"info":"{\"index_of_first_image\":{{{first}}}}"}""".Replace("IMG", ImageBase64));

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

    [Test]
    public async Task GenerateAsync_IsCancelled_WhenTheCallerGivesUp(
        [Values("before", "in headers", "in body", "in an error's body")] string when)
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
    public async Task GenerateAsync_KeepsWaiting_WhenForgeTakesLong(CancellationToken cancellationToken)
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
