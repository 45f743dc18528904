using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

using static ImageQueue.Tests.Simulator.SimulatorServer;

namespace ImageQueue.Tests.Simulator;

[Category(Categories.App)]
public sealed class SimulatorFaultsTests
{
    [TestCase(SimulatorFaults.ServerError, 500, "\"message\":\"Simulated: mat1")]
    [TestCase(SimulatorFaults.ServerErrorOfA1111, 500, "\"errors\":\"Simulated: mat1")]
    [TestCase(
        SimulatorFaults.OutOfMemory,
        500,
        "\"error\":\"OutOfMemoryError\",\"detail\":\"\",\"body\":\"\",\"message\":\"CUDA out of memory.")]
    [TestCase(SimulatorFaults.Invalid, 422, "\"loc\":[\"body\",\"steps\"]")]
    [TestCase(SimulatorFaults.Rejected, 422, "{\"detail\":\"always on script")]
    [TestCase(
        SimulatorFaults.Cuda,
        500,
        "\"error\":\"RuntimeError\",\"detail\":\"\",\"body\":\"\",\"message\":\"CUDA error: unspecified launch failure")]
    [TestCase(SimulatorFaults.Unauthorized, 401, "{\"detail\":\"Incorrect username or password\"}")]
    [TestCase(SimulatorFaults.Unavailable, 503, "<html>")]
    [TestCase(SimulatorFaults.Loading, 404, "{\"detail\":\"Not Found\"}")]
    [TestCase(SimulatorFaults.NotJson, 200, "<html>")]
    [TestCase(SimulatorFaults.Empty, 200, "{\"images\":[],")]
    [TestCase(SimulatorFaults.Blank, 200, "{\"images\":[\"\"],")]
    public async Task Fault_GivesItsAnswer_WhenThePromptAsksForIt(string fault, int status, string part)
    {
        await using var server = await StartAsync();

        using var response = await server.GenerateAsync($"bir kedi [fault:{fault}]");

        Assert.That((int)response.StatusCode, Is.EqualTo(status));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain(part));
    }

    [Test]
    public async Task EveryFault_HasAnEffect()
    {
        await using var server = await StartAsync();
        var whole = await (await server.GenerateAsync("same", seed: 1)).Content.ReadAsStringAsync();
        foreach (var fault in SimulatorFaults.Known.Except(
            [
                SimulatorFaults.Slow,
                SimulatorFaults.Stalled,
                SimulatorFaults.Hang,
                SimulatorFaults.SlowLoad,
                SimulatorFaults.NoWebUi,
                SimulatorFaults.NoTasks]))
        {
            server.Simulator.Faults.Set(fault, 1);
            string answer;
            try
            {
                using var response = await server.GenerateAsync("same", seed: 1);
                answer = response.StatusCode + await response.Content.ReadAsStringAsync();
            }
            catch (HttpRequestException e)
            {
                answer = e.Message;
            }

            Assert.That(answer, Is.Not.EqualTo("OK" + whole), fault);
        }
    }

    [TestCase(SimulatorFaults.Reset)]
    [TestCase(SimulatorFaults.Truncated)]
    public async Task Fault_BreaksTheConnection_WhenItIsOfTheNetwork(string fault)
    {
        await using var server = await StartAsync();

        Assert.That(async () => await server.GenerateAsync($"[fault:{fault}]"), Throws.InstanceOf<HttpRequestException>());

        Assert.That(
            server.Simulator.Stats.Snapshot().Received[0].Outcome, Is.EqualTo(fault == SimulatorFaults.Reset ? "reset" : "cut short"));
        using var next = await server.GenerateAsync();
        Assert.That(next.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [TestCase(SimulatorFaults.Garbage)]
    [TestCase(SimulatorFaults.CutImage)]
    public async Task Fault_GivesBytesThatDoNotDecode_WhenItIsOfTheImage(string fault)
    {
        await using var server = await StartAsync();

        var answer = await GeneratedAsync(server.GenerateAsync($"[fault:{fault}]", width: 256, height: 256));

        var bytes = answer.GetProperty("images")[0].GetBytesFromBase64();
        using var codec = SkiaSharp.SKCodec.Create(new MemoryStream(bytes));
        if (fault == SimulatorFaults.Garbage)
        {
            Assert.That(codec, Is.Null);
            return;
        }

        using var bitmap = new SkiaSharp.SKBitmap(codec.Info);
        Assert.That(codec.GetPixels(bitmap.Info, bitmap.GetPixels()), Is.EqualTo(SkiaSharp.SKCodecResult.IncompleteInput));
    }

    [TestCase(SimulatorFaults.Jpeg, new byte[] { 0xFF, 0xD8, 0xFF })]
    [TestCase(SimulatorFaults.WebP, new byte[] { 0x52, 0x49, 0x46, 0x46 })]
    public async Task Fault_GivesAnotherFormat_WhenTheServerIsSetToIt(string fault, byte[] magic)
    {
        await using var server = await StartAsync();

        var image = (await GeneratedAsync(server.GenerateAsync($"[fault:{fault}]"))).GetProperty("images")[0];

        using var decoded = Decode(image);
        Assert.That(image.GetBytesFromBase64()[..magic.Length], Is.EqualTo(magic));
        Assert.That(decoded.Width, Is.EqualTo(64));
    }

    [Test]
    public async Task Slow_TakesSeconds_EvenWhenImagesTakeNoTime()
    {
        await using var server = await StartAsync();
        var started = Stopwatch.GetTimestamp();

        using var response = await server.GenerateAsync("[fault:slow]");

        Assert.That(Stopwatch.GetElapsedTime(started), Is.GreaterThan(TimeSpan.FromSeconds(1.9)));
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task ServerError_LeavesTheTaskActive_UntilTheNextStarts()
    {
        await using var server = await StartAsync();
        using var failed = await server.GenerateAsync("[fault:500]", "failed");
        var after = await server.TaskProgressAsync("failed");

        using var next = await server.GenerateAsync(task: "next");

        var later = await server.TaskProgressAsync("failed");
        Assert.Multiple(() =>
        {
            Assert.That(after.GetProperty("active").GetBoolean(), Is.True);
            Assert.That(after.GetProperty("completed").GetBoolean(), Is.False);
            Assert.That(later.GetProperty("active").GetBoolean(), Is.False);
            Assert.That(next.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        });
    }

    [Test]
    public async Task PromptFault_StopsByItself_WhenItHasANumber()
    {
        await using var server = await StartAsync();
        var statuses = new List<int>();
        for (var i = 0; i < 3; i++)
        {
            using var response = await server.GenerateAsync("kedi [fault:unavailable*2]");
            statuses.Add((int)response.StatusCode);
        }

        Assert.That(statuses, Is.EqualTo((int[])[503, 503, 200]));
    }

    [Test]
    public async Task PostFault_HitsSoManyRequests_WhenTimesIsGiven()
    {
        await using var server = await StartAsync();
        var (_, set) = await server.SendAsync(HttpMethod.Post, "faults", """{"fault":"500","times":2}""");
        var statuses = new List<int>();
        for (var i = 0; i < 3; i++)
        {
            using var response = await server.GenerateAsync();
            statuses.Add((int)response.StatusCode);
        }

        Assert.Multiple(() =>
        {
            Assert.That(set.GetProperty("fault").GetString(), Is.EqualTo("500"));
            Assert.That(set.GetProperty("times_left").GetInt32(), Is.EqualTo(2));
            Assert.That(statuses, Is.EqualTo((int[])[500, 500, 200]));
        });
    }

    [Test]
    public async Task DeleteFaults_EndsAllFaults()
    {
        await using var server = await StartAsync();
        await server.SendAsync(HttpMethod.Post, "faults", """{"fault":"empty"}""");

        var (_, after) = await server.SendAsync(HttpMethod.Delete, "faults");

        var answer = await GeneratedAsync(server.GenerateAsync());
        Assert.That(after.GetProperty("fault").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(answer.GetProperty("images").GetArrayLength(), Is.EqualTo(1));
    }

    [TestCase("""{"fault":"meltdown"}""", "stalled")]
    [TestCase("""{"fault":"500","times":0}""", "times")]
    [TestCase("""{"fault":7}""", "fault")]
    [TestCase("{}", "stalled")]
    [TestCase("null", "stalled")]
    public async Task PostFault_Gives400WithTheNames_WhenItIsWrong(string body, string part)
    {
        await using var server = await StartAsync();

        var (status, answer) = await server.SendAsync(HttpMethod.Post, "faults", body);

        Assert.That(status, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(answer.GetProperty("detail").GetString(), Does.Contain(part));
        Assert.That(server.Simulator.Faults.Current.Fault, Is.Null);
    }

    [Test]
    public async Task PromptFault_Gives400WithTheNames_WhenItIsUnknown()
    {
        await using var server = await StartAsync();

        using var response = await server.GenerateAsync("[fault:meltdown]");

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("detail").GetString(), Does.Contain("stalled"));
    }

    [TestCase(SimulatorFaults.Unavailable, HttpStatusCode.ServiceUnavailable, HttpStatusCode.ServiceUnavailable)]
    [TestCase(SimulatorFaults.Loading, HttpStatusCode.NotFound, HttpStatusCode.OK)]
    [TestCase(SimulatorFaults.Unauthorized, HttpStatusCode.Unauthorized, HttpStatusCode.Unauthorized)]
    public async Task FaultOfTheWholeServer_HitsProbesToo(string fault, HttpStatusCode api, HttpStatusCode ping)
    {
        await using var server = await StartAsync();
        server.Simulator.Faults.Set(fault);

        using var options = await server.Client.GetAsync("sdapi/v1/options");
        using var pong = await server.Client.GetAsync("internal/ping");
        using var generated = await server.GenerateAsync();

        Assert.That((options.StatusCode, pong.StatusCode, generated.StatusCode), Is.EqualTo((api, ping, api)));
    }

    [Test]
    public async Task Cuda_EndsByItself_AfterSomeRequests()
    {
        await using var server = await StartAsync();
        var statuses = new List<int>();
        foreach (var prompt in Enumerable.Repeat("b", SimulatorFaults.CudaRequests + 1).Prepend("a [fault:cuda]"))
        {
            using var response = await server.GenerateAsync(prompt);
            statuses.Add((int)response.StatusCode);
        }

        Assert.That(statuses, Is.EqualTo((int[])[.. Enumerable.Repeat(500, SimulatorFaults.CudaRequests + 1), 200]));
    }

    [Test]
    public async Task NoModel_EmptiesTheList_AndFailsGenerations()
    {
        await using var server = await StartAsync();
        server.Simulator.Faults.Set(SimulatorFaults.NoModel);

        var models = await server.GetAsync("sdapi/v1/sd-models");
        using var response = await server.GenerateAsync();

        Assert.That((models.GetArrayLength(), response.StatusCode), Is.EqualTo((0, HttpStatusCode.InternalServerError)));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("You do not have any model!"));
    }

    [TestCase(SimulatorFaults.Firewall, HttpStatusCode.Forbidden, "403 Forbidden")]
    [TestCase(SimulatorFaults.GatewayTimeout, HttpStatusCode.GatewayTimeout, "504 Gateway Time-out")]
    public async Task FaultOfAProxy_AnswersWithItsPage(string fault, HttpStatusCode status, string title)
    {
        await using var server = await StartAsync();

        using var response = await server.GenerateAsync($"a [fault:{fault}]");

        Assert.That((response.StatusCode, response.Content.Headers.ContentType!.MediaType), Is.EqualTo((status, "text/html")));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain($"<title>{title}</title>"));
    }

    [Test]
    public async Task Cuda_HitsEveryLaterRequest_UntilItIsCleared()
    {
        await using var server = await StartAsync();
        var statuses = new List<int>();
        foreach (var prompt in (string[])["a [fault:cuda*1]", "b", "a [fault:cuda*1]"])
        {
            using var response = await server.GenerateAsync(prompt);
            statuses.Add((int)response.StatusCode);
        }

        using var probe = await server.Client.GetAsync("sdapi/v1/samplers");
        await server.SendAsync(HttpMethod.Delete, "faults");
        using var after = await server.GenerateAsync("b");

        Assert.That(statuses, Is.EqualTo((int[])[500, 500, 500]));
        Assert.That((probe.StatusCode, after.StatusCode), Is.EqualTo((HttpStatusCode.OK, HttpStatusCode.OK)));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Hang_OutlivesInterrupts_AndEndsWhenItIsCleared(bool interrupted)
    {
        await using var server = await StartAsync();
        var asked = server.GenerateAsync("[fault:hang]", "h");
        await Until.TrueAsync(
            async () => (await server.GetAsync("sdapi/v1/progress")).GetProperty("progress").GetDouble() > 0.5, "it hangs");

        if (interrupted)
            await server.InterruptAsync();
        var (still, _) = await server.SendAsync(HttpMethod.Get, "sdapi/v1/options");
        var goesOn = (await server.TaskProgressAsync("h")).GetProperty("active").GetBoolean();
        await server.SendAsync(HttpMethod.Delete, "faults");
        var answer = await GeneratedAsync(asked);

        Assert.Multiple(() =>
        {
            Assert.That(goesOn, Is.True);
            Assert.That(still, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(answer.GetProperty("images").GetArrayLength(), Is.EqualTo(1));
            Assert.That((server.Stats.Generated, server.Stats.Interrupted), Is.EqualTo(interrupted ? (0, 1) : (1, 0)));
        });
    }

    [Test]
    public async Task SlowLoad_ShowsNoProgress_ForSeconds()
    {
        var time = new FakeTimeProvider();
        await using var server = await StartAsync(time: time);
        var asked = server.GenerateAsync("[fault:slowload]", "a");
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("a")).GetProperty("active").GetBoolean(), "active");

        time.Advance(TimeSpan.FromSeconds(2.9));
        var own = await server.TaskProgressAsync("a");
        var global = await server.GetAsync("sdapi/v1/progress");
        time.Advance(TimeSpan.FromSeconds(0.2));
        using var response = await asked;

        Assert.Multiple(() =>
        {
            Assert.That(own.GetProperty("progress").GetDouble(), Is.Zero);
            Assert.That(global.GetProperty("progress").GetDouble(), Is.EqualTo(0.01));
            Assert.That(global.GetProperty("state").GetProperty("job_count").GetInt32(), Is.EqualTo(-1));
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        });
    }

    [Test]
    public async Task Nan_GivesAWholeImage_AllBlack()
    {
        await using var server = await StartAsync();

        using var image = Decode((await GeneratedAsync(server.GenerateAsync("[fault:nan]"))).GetProperty("images")[0]);

        Assert.That(image.Pixels, Is.All.EqualTo(SkiaSharp.SKColors.Black));
    }

    [TestCase(SimulatorFaults.NoWebUi, "internal/ping", HttpStatusCode.NotFound)]
    [TestCase(SimulatorFaults.NoTasks, "internal/ping", HttpStatusCode.OK)]
    public async Task FaultOfCapabilities_TakesEndpointsAway_AndGeneratesAllTheSame(string fault, string path, HttpStatusCode expected)
    {
        await using var server = await StartAsync();
        server.Break(fault);

        using var other = await server.Client.GetAsync(path);
        using var tasks = await server.Client.GetAsync("internal/pending-tasks");
        using var generated = await server.GenerateAsync();
        using var asked = await server.GenerateAsync($"[fault:{fault}]");

        Assert.That(
            (other.StatusCode, tasks.StatusCode, generated.StatusCode), Is.EqualTo((expected, HttpStatusCode.NotFound, HttpStatusCode.OK)));
        Assert.That(asked.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest), "one request cannot be without them");
    }

    [Test]
    public async Task Stats_HoldArrivalsAndAnswers()
    {
        await using var server = await StartAsync();
        using (await server.GenerateAsync("ışık", "a"))
        {
        }

        var stats = await server.GetAsync("stats");

        var request = stats.GetProperty("received")[0];
        Assert.Multiple(() =>
        {
            Assert.That(request.GetProperty("task").GetString(), Is.EqualTo("a"));
            Assert.That(request.GetProperty("prompt").GetString(), Is.EqualTo("ışık"));
            Assert.That(request.GetProperty("outcome").GetString(), Is.EqualTo("200"));
            Assert.That(
                request.GetProperty("answered_at_ms").GetDouble(), Is.GreaterThanOrEqualTo(request.GetProperty("at_ms").GetDouble()));
            Assert.That(request.GetProperty("at").GetDateTimeOffset(), Is.GreaterThan(DateTimeOffset.UnixEpoch));
            Assert.That(stats.GetProperty("generated").GetInt32(), Is.EqualTo(1));
            Assert.That(stats.GetProperty("in_flight").GetInt32(), Is.Zero);
        });
    }
}
