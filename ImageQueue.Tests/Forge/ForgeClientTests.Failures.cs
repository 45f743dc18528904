using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using ImageQueue.Core.Forge;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>What each answer and each broken connection means.</summary>
public sealed partial class ForgeClientTests
{
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
    public void GenerateAsync_StopsReading_WhenTheBodyIsEndless(int status)
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

    /// <summary>Seen before: 1.9 MB of gzip took 1 GB of memory.</summary>
    [Test]
    public async Task WhyUnhealthyAsync_StopsReading_WhenTheAnswerIsFarTooLong()
    {
        _answer = async context =>
        {
            context.Response.Headers.ContentEncoding = "gzip";
            await using var stream = new GZipStream(context.Response.Body, CompressionLevel.Fastest);
            for (var i = 0; i < 64; i++)
                await stream.WriteAsync(new byte[1024 * 1024]);
        };

        Assert.That(await _client.WhyUnhealthyAsync(_backend, default), Is.EqualTo("the answer of gpu1 is longer than 16 MB"));
    }

    // The body forms, server by server.
    [TestCase(500, """{"error":"RuntimeError","detail":"","body":"","message":"boom"}""", ForgeFailure.Failed, "boom", TestName = "Forge")]
    [TestCase(500, """{"error":"RuntimeError","detail":"","body":"","errors":"boom"}""", ForgeFailure.Failed, "boom",
        TestName = "reForge, A1111, classic")]
    [TestCase(500, """{"error":"AssertionError","detail":"","body":"","message":""}""", ForgeFailure.Failed, "AssertionError",
        TestName = "Forge without a message")]
    [TestCase(500, """{"detail":{"msg":"boom","type":"server_error"}}""", ForgeFailure.Failed, "boom", TestName = "KoboldCpp")]
    [TestCase(500, """{"error":"generate failed","message":"boom"}""", ForgeFailure.Failed, "boom", TestName = "sd-server 500")]
    [TestCase(400, """{"error":"unknown sampler"}""", ForgeFailure.Rejected, "unknown sampler", TestName = "sd-server 400")]
    [TestCase(500, "Internal Server Error", ForgeFailure.Failed, "Internal Server Error", TestName = "plain text")]
    [TestCase(500, "", ForgeFailure.Failed, "gpu1 answered 500 Internal Server Error", TestName = "nothing")]
    [TestCase(500, "{}", ForgeFailure.Failed, "gpu1 answered 500 Internal Server Error", TestName = "an empty object")]
    [TestCase(500, """{"error":"OutOfMemoryError","detail":"","body":"","message":"CUDA out of memory. Tried to allocate 2 GiB"}""",
        ForgeFailure.OutOfMemory, "CUDA out of memory. Tried to allocate 2 GiB", TestName = "Forge out of memory")]
    [TestCase(500, """{"error":"OutOfMemoryError","message":""}""", ForgeFailure.OutOfMemory, "OutOfMemoryError",
        TestName = "out of memory by type")]
    [TestCase(500, """{"error":"RuntimeError","errors":"HIP out of memory"}""", ForgeFailure.OutOfMemory, "HIP out of memory",
        TestName = "out of memory on AMD")]
    [TestCase(500, "torch.cuda.OutOfMemoryError: Allocation on device 0", ForgeFailure.OutOfMemory,
        "torch.cuda.OutOfMemoryError: Allocation on device 0", TestName = "out of memory in plain text")]
    [TestCase(501, "no", ForgeFailure.Failed, "no", TestName = "501")]
    [TestCase(422,
        """{"detail":[{"loc":["body","steps"],"msg":"Input should be a valid integer","type":"int_parsing"},{"loc":"""
            + """["body","override_settings",0],"msg":"wrong","type":"x"}]}""", ForgeFailure.Rejected,
            "steps: Input should be a valid integer; override_settings.0: wrong", TestName = "422 list")]
    [TestCase(422, """{"detail":"Sampler not known"}""", ForgeFailure.Rejected, "Sampler not known", TestName = "422 text")]
    [TestCase(422, """{"detail":[{"loc":["body"],"msg":"field required"}, 7, "and more"]}""", ForgeFailure.Rejected,
        "field required; and more", TestName = "422 odd list")]
    [TestCase(401, """{"detail":"Incorrect username or password"}""", ForgeFailure.Unavailable,
        "it refuses the user and password (Forge:Backends:n:Username and Password)", TestName = "401")]
    [TestCase(403, "<html><head><title>403 Forbidden</title></head><body>x</body></html>", ForgeFailure.Disrupted,
        "a proxy before it refuses the request: 403 Forbidden", TestName = "403 page of a firewall")]
    [TestCase(404, """{"detail":"Not Found"}""", ForgeFailure.Unavailable, "its API is off (start Forge with --api) or not up yet",
        TestName = "404, API not up")]
    [TestCase(404, """{"detail":"Model not found"}""", ForgeFailure.Rejected, "Model not found", TestName = "404 for a model")]
    [TestCase(404, "<html><title>404: sampler</title></html>", ForgeFailure.Unavailable,
        "its API is off (start Forge with --api) or not up yet", TestName = "404 page")]
    [TestCase(400, "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>", ForgeFailure.Disrupted,
        "a proxy before it refuses the request: 400 The plain HTTP request was sent to HTTPS port", TestName = "400 page")]
    [TestCase(500, "<html><title>500 Internal Server Error</title></html>", ForgeFailure.Disrupted, "500 Internal Server Error",
        TestName = "500 page of a proxy")]
    [TestCase(405, """{"detail":"Method Not Allowed"}""", ForgeFailure.Unavailable, "Method Not Allowed", TestName = "405")]
    [TestCase(407, "", ForgeFailure.Unavailable, "gpu1 answered 407 Proxy Authentication Required", TestName = "407")]
    [TestCase(408, "", ForgeFailure.GatewayTimeout,
        "a proxy before it gave up after 0 s (408 Request Timeout); raise its time-out (nginx: proxy_read_timeout, Apache: ProxyTimeout, "
            + "HAProxy: timeout server, Traefik: forwardingTimeouts.responseHeaderTimeout, Caddy: response_header_timeout) above "
                + "Forge:Timeout", TestName = "408")]
    [TestCase(413, "", ForgeFailure.Disrupted,
        "gpu1 answered 413 Payload Too Large; raise its limit for request bodies (nginx: client_max_body_size)", TestName = "413")]
    [TestCase(425, "", ForgeFailure.Unavailable, "gpu1 answered 425", TestName = "425")]
    [TestCase(429, """{"detail":"slow down"}""", ForgeFailure.Unavailable, "slow down", TestName = "429")]
    [TestCase(520, "", ForgeFailure.Disrupted, "gpu1 answered 520", TestName = "520")]
    [TestCase(524, "error code: 524", ForgeFailure.GatewayTimeout,
        "Cloudflare gave up after 0 s (524); its limit is 100 s, higher in Enterprise plans only: lower Forge:Timeout, or reach Forge "
            + "past Cloudflare (DNS only)", TestName = "524")]
    [TestCase(500, """{"error":"RuntimeError","message":"CUDA error: unspecified launch failure\nCUDA kernel errors might be..."}""",
        ForgeFailure.Disrupted, "CUDA error: unspecified launch failure CUDA kernel errors might be...", TestName = "CUDA error")]
    [TestCase(500, """{"error":"AcceleratorError","errors":"CUDA error: device-side assert triggered"}""", ForgeFailure.Disrupted,
        "CUDA error: device-side assert triggered", TestName = "device-side assert")]
    [TestCase(500, """{"error":"RuntimeError","message":"HIP error: an illegal memory access was encountered"}""", ForgeFailure.Disrupted,
        "HIP error: an illegal memory access was encountered", TestName = "HIP error")]
    [TestCase(500, """{"error":"RuntimeError","message":"CUDA error: out of memory"}""", ForgeFailure.OutOfMemory,
        "CUDA error: out of memory", TestName = "CUDA error that is only memory")]
    [TestCase(404, """{"error":"HTTPException","detail":"Sampler not found","body":"","errors":""}""", ForgeFailure.Rejected,
        "Sampler not found", TestName = "404 of forge-classic for a sampler")]
    [TestCase(500, """{"error":"AttributeError","message":"'NoneType' object has no attribute 'sd_checkpoint_info'"}""",
        ForgeFailure.Disrupted, "'NoneType' object has no attribute 'sd_checkpoint_info'", TestName = "500 after a failed model load")]
    [TestCase(500, """{"error":"RuntimeError","message":"You do not have any model!"}""", ForgeFailure.Unavailable,
        "You do not have any model!", TestName = "500 without any model")]
    [TestCase(403, """{"message":"Forbidden"}""", ForgeFailure.Disrupted, "Forbidden", TestName = "403 of an API gateway")]
    [TestCase(502, "<html>\n<body><style>p{}</style><h1>Bad&nbsp;Gateway</h1><p>nginx &amp; co</p></body></html>", ForgeFailure.Disrupted,
        "Bad Gateway nginx & co", TestName = "502 page")]
    [TestCase(503, """{"detail":{"msg":"Server is busy; please try again later.","type":"service_unavailable"}}""",
        ForgeFailure.Unavailable, "Server is busy; please try again later.", TestName = "503 of KoboldCpp")]
    [TestCase(504, "", ForgeFailure.GatewayTimeout,
        "a proxy before it gave up after 0 s (504 Gateway Timeout); raise its time-out (nginx: proxy_read_timeout, Apache: ProxyTimeout, "
            + "HAProxy: timeout server, Traefik: forwardingTimeouts.responseHeaderTimeout, Caddy: response_header_timeout) above "
                + "Forge:Timeout", TestName = "504")]
    [TestCase(204, "", ForgeFailure.BadImage, "gpu1 answered 204 No Content", TestName = "204")]
    public void GenerateAsync_SaysWhatTheServerSaid_WhenItAnswers(int status, string body, ForgeFailure failure, string reason)
    {
        Answer(status, body);

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That((exception!.Failure, exception.Reason), Is.EqualTo((failure, reason)));
    }

    [TestCase(
        504, "Server", "nginx/1.24.0", "", "nginx gave up after 60 s (504 Gateway Timeout); raise proxy_read_timeout above Forge:Timeout")]
    [TestCase(504, "Via", "1.1 Caddy", "",
        "Caddy gave up after 60 s (504 Gateway Timeout); raise response_header_timeout of reverse_proxy's transport above Forge:Timeout")]
    [TestCase(504, "Server", "Apache/2.4.58", "<html><title>504 Gateway Timeout</title></html>",
        "Apache gave up after 60 s (504 Gateway Timeout); raise ProxyTimeout above Forge:Timeout")]
    [TestCase(504, "Content-Type", "text/html",
        "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>",
        "HAProxy gave up after 60 s (504 Gateway Timeout); raise timeout server above Forge:Timeout")]
    [TestCase(504, "Content-Type", "text/plain", "Gateway Timeout",
        "Traefik gave up after 60 s (504 Gateway Timeout); raise forwardingTimeouts.responseHeaderTimeout above Forge:Timeout")]
    [TestCase(524, "cf-ray", "8f2d1c-IST", "",
        "Cloudflare (ray 8f2d1c-IST) gave up after 60 s (524); its limit is 100 s, higher in Enterprise plans only: lower Forge:Timeout, "
            + "or reach Forge past Cloudflare (DNS only)")]
    [TestCase(408, "Server", "awselb/2.0", "",
        "AWS load balancer gave up after 60 s (408 Request Timeout); raise its idle timeout above Forge:Timeout")]
    public void GenerateAsync_NamesProxyAndSetting_WhenAGatewayTimesOut(int status, string header, string value, string body, string reason)
    {
        _answer = context =>
        {
            _time.Advance(TimeSpan.FromSeconds(60));
            context.Response.Headers[header] = value;
            return WriteAsync(context, status, body);
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That(
            (exception!.Failure, exception.Reason, exception.MayStillBeRunning), Is.EqualTo((ForgeFailure.GatewayTimeout, reason, true)));
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
            return WriteAsync(
                context,
                403,
                "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>Sorry, you have been "
                    + "blocked</body></html>");
        };

        var exception = Assert.ThrowsAsync<ForgeException>(() => _client.GenerateAsync(_backend, "t", Request, default));

        Assert.That(
            (exception!.Failure, exception.Reason, exception.MayStillBeRunning), Is.EqualTo((ForgeFailure.Disrupted, reason, false)));
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
    public void AllCalls_SayUnavailable_WhenTheConnectionIsRefused()
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

            Assert.That(await _client.WhyUnhealthyAsync(backend, default), Is.EqualTo($"gpu1 could not be reached: {reason}"));
        });
    }
}
