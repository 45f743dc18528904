using System.Net;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

using static ImageQueue.Tests.Simulator.SimulatorServer;

namespace ImageQueue.Tests.Simulator;

[Category(Categories.App)]
public sealed class ForgeSimulatorTests
{
    [TestCase(64, 64)]
    [TestCase(256, 128)]
    public async Task TextToImage_GivesPngOfTheAskedSize(int width, int height)
    {
        await using var server = await StartAsync();

        var answer = await GeneratedAsync(server.GenerateAsync("bir kedi, yağlı boya", width: width, height: height, seed: 42));

        using var image = Decode(answer.GetProperty("images")[0]);
        var info = Info(answer);
        Assert.Multiple(() =>
        {
            Assert.That(answer.GetProperty("images").GetArrayLength(), Is.EqualTo(1));
            Assert.That((image.Width, image.Height), Is.EqualTo((width, height)));
            Assert.That(info.GetProperty("seed").GetInt64(), Is.EqualTo(42));
            Assert.That(info.GetProperty("width").GetInt32(), Is.EqualTo(width));
            Assert.That(info.GetProperty("height").GetInt32(), Is.EqualTo(height));
            Assert.That(info.GetProperty("sd_model_name").GetString(), Is.EqualTo("flux1-dev-bnb-nf4-v2"));
            Assert.That(info.GetProperty("prompt").GetString(), Is.EqualTo("bir kedi, yağlı boya"));
            Assert.That(answer.GetProperty("parameters").GetProperty("prompt").GetString(), Is.EqualTo("bir kedi, yağlı boya"));
        });
    }

    [Test]
    public async Task TextToImage_GivesTheSameImage_WhenPromptAndSeedAreTheSame()
    {
        await using var server = await StartAsync();

        var first = (await GeneratedAsync(server.GenerateAsync(seed: 5))).GetProperty("images")[0].GetString();
        var again = (await GeneratedAsync(server.GenerateAsync(seed: 5))).GetProperty("images")[0].GetString();
        var other = (await GeneratedAsync(server.GenerateAsync(seed: 6))).GetProperty("images")[0].GetString();

        Assert.That(again, Is.EqualTo(first));
        Assert.That(other, Is.Not.EqualTo(first));
    }

    [Test]
    public async Task TextToImage_ReportsTheSeedItChose_WhenSeedIsMinusOne()
    {
        await using var server = await StartAsync();

        var info = Info(await GeneratedAsync(server.GenerateAsync(seed: -1)));

        Assert.That(info.GetProperty("seed").GetInt64(), Is.InRange(0, uint.MaxValue));
    }

    [Test]
    public async Task TextToImage_GivesGridFirst_WhenSeveralImagesAreAsked()
    {
        await using var server = await StartAsync();

        var (_, answer) = await server.SendAsync(
            HttpMethod.Post, "sdapi/v1/txt2img", """{"prompt":"kedi","width":64,"height":64,"steps":2,"n_iter":2,"batch_size":2}""");

        using var grid = Decode(answer.GetProperty("images")[0]);
        Assert.Multiple(() =>
        {
            Assert.That(answer.GetProperty("images").GetArrayLength(), Is.EqualTo(5));
            Assert.That((grid.Width, grid.Height), Is.EqualTo((128, 128)));
            Assert.That(Info(answer).GetProperty("index_of_first_image").GetInt32(), Is.EqualTo(1));
        });
    }

    [Test]
    public async Task TextToImage_UsesTheCurrentModel_WhenTheCheckpointIsUnknown()
    {
        await using var server = await StartAsync();

        var known = Info(await GeneratedAsync(server.GenerateAsync(overrides: new { sd_model_checkpoint = "flux1-schnell-fp8" })));
        var unknown = Info(await GeneratedAsync(server.GenerateAsync(overrides: new { sd_model_checkpoint = "no such model" })));

        Assert.That(known.GetProperty("sd_model_name").GetString(), Is.EqualTo("flux1-schnell-fp8"));
        Assert.That(unknown.GetProperty("sd_model_name").GetString(), Is.EqualTo("flux1-dev-bnb-nf4-v2"));
    }

    [TestCase(true, "flux1-dev-bnb-nf4-v2", 3)]
    [TestCase(false, "flux1-schnell-fp8", 2)]
    public async Task Model_StaysLoaded_UnlessItsOptionIsRestored(bool restore, string then, int loads)
    {
        await using var server = await StartAsync();
        var body =
            """{"width":64,"height":64,"steps":2,"override_settings":{"sd_model_checkpoint":"flux1-schnell-fp8"},"""
            + $"\"override_settings_restore_afterwards\":{(restore ? "true" : "false")}}}";
        var before = (await server.GetAsync("sdapi/v1/options")).GetProperty("sd_model_checkpoint").GetString();
        using (await server.GenerateAsync())
        {
        }

        await server.SendAsync(HttpMethod.Post, "sdapi/v1/txt2img", body);
        var option = (await server.GetAsync("sdapi/v1/options")).GetProperty("sd_model_checkpoint").GetString();
        var next = Info(await GeneratedAsync(server.GenerateAsync()));

        Assert.Multiple(() =>
        {
            Assert.That(before, Is.EqualTo("flux1-dev-bnb-nf4-v2.safetensors"));
            Assert.That(option, Does.StartWith(then));
            Assert.That(next.GetProperty("sd_model_name").GetString(), Is.EqualTo(then));
            Assert.That(server.Stats.ModelLoads, Is.EqualTo(loads));
        });
    }

    [Test]
    public async Task TextToImage_Gives500_WhenAnOptionIsUnknown()
    {
        await using var server = await StartAsync();

        using var response = await server.GenerateAsync(overrides: new { no_such_option = 1 });

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.InternalServerError));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("KeyError"));
    }

    [TestCase("""{"width":"wide"}""", "width", "int_type")]
    [TestCase("""{"width":64.5}""", "width", "int_type")]
    [TestCase("""{"prompt":7}""", "prompt", "string_type")]
    [TestCase("""{"cfg_scale":[]}""", "cfg_scale", "float_type")]
    [TestCase("""{"send_images":null}""", "send_images", "bool_type")]
    [TestCase("""{"override_settings":[]}""", "override_settings", "dict_type")]
    public async Task TextToImage_Gives422OfFastApisForm_WhenATypeIsWrong(string body, string field, string type)
    {
        await using var server = await StartAsync();

        var (status, answer) = await server.SendAsync(HttpMethod.Post, "sdapi/v1/txt2img", body);

        var error = answer.GetProperty("detail")[0];
        Assert.Multiple(() =>
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
            Assert.That(error.GetProperty("loc")[0].GetString(), Is.EqualTo("body"));
            Assert.That(error.GetProperty("loc")[1].GetString(), Is.EqualTo(field));
            Assert.That(error.GetProperty("type").GetString(), Is.EqualTo(type));
            Assert.That(error.GetProperty("msg").GetString(), Is.Not.Empty);
        });
    }

    [TestCase("")]
    [TestCase("no json")]
    [TestCase("[]")]
    [TestCase("""{"prompt":"\ud800"}""")]
    [TestCase("""{"cfg_scale":1e999}""")]
    public async Task TextToImage_Gives422_WhenTheBodyIsNoRequest(string body)
    {
        await using var server = await StartAsync();

        var (status, answer) = await server.SendAsync(HttpMethod.Post, "sdapi/v1/txt2img", body);

        Assert.That(status, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
        Assert.That(answer.GetProperty("detail")[0].GetProperty("msg").GetString(), Is.Not.Empty);
    }

    [Test]
    public async Task TextToImage_SaysOutOfMemory_WhenTheImageIsHuge()
    {
        await using var server = await StartAsync();

        using var response = await server.GenerateAsync(width: 2_000_000_000, height: 2_000_000_000);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.InternalServerError));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("OutOfMemoryError"));
    }

    [Test]
    public async Task Progress_GoesThroughForgesPhases()
    {
        // 64x64 in 4 steps is 1/1280 of the default work: 128,000 s for the default is 100 s here.
        var time = new FakeTimeProvider();
        await using var server = await StartAsync(128_000, time);
        var idle = await server.GetAsync("sdapi/v1/progress");
        var asked = server.GenerateAsync(task: "a");
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("a")).GetProperty("active").GetBoolean(), "active");

        var seen = new List<string>();
        for (var second = 0; !asked.IsCompleted && second < 200; second++)
        {
            await Settle();
            var global = await server.GetAsync("sdapi/v1/progress?skip_current_image=true");
            var state = global.GetProperty("state");
            var own = await server.TaskProgressAsync("a");
            var line = string.Create(
                CultureInfo.InvariantCulture,
                $"{global.GetProperty("progress").GetDouble():0.00} of {state.GetProperty("job_count").GetInt32()}, step "
                    + $"{state.GetProperty("sampling_step").GetInt32()}; own {own.GetProperty("progress")}");
            if (own.GetProperty("active").GetBoolean() && seen.LastOrDefault() != line)
            {
                seen.Add(line);
            }

            time.Advance(TimeSpan.FromSeconds(1));
        }

        using var response = await asked;
        var after = await server.TaskProgressAsync("a");
        Assert.Multiple(() =>
        {
            Assert.That(idle.GetProperty("progress").GetDouble(), Is.Zero);
            Assert.That(idle.GetProperty("state").GetProperty("job").GetString(), Is.Empty);
            Assert.That(seen, Is.EqualTo((string[])
            [
                "0.01 of -1, step 0; own 0",
                "0.01 of 1, step 0; own 0",
                "0.26 of 1, step 1; own 0.25",
                "0.51 of 1, step 2; own 0.5",
                "0.76 of 1, step 3; own 0.75",
                "1.00 of 1, step 0; own 1",
            ]));
            Assert.That(after.GetProperty("completed").GetBoolean(), Is.True);
            Assert.That(after.GetProperty("active").GetBoolean(), Is.False);
        });

        // The timers fire at once, but what follows them runs on the pool.
        static Task Settle() => Task.Delay(15);
    }

    [Test]
    public async Task TaskProgress_GivesSharperPreviews_OnlyWhenThereIsANewOne()
    {
        var time = new FakeTimeProvider();
        await using var server = await StartAsync(time: time, millisecondsPerImage: 100_000);
        var asked = server.GenerateAsync(task: "a", steps: 24);
        await StepAsync(9);
        var none = await server.TaskProgressAsync("a", preview: true);
        await StepAsync(10);
        var first = await server.TaskProgressAsync("a", preview: true);
        var seen = await server.TaskProgressAsync("a", preview: true, seen: first.GetProperty("id_live_preview").GetInt32());
        var unasked = await server.TaskProgressAsync("a", preview: false);
        await StepAsync(19);
        var notYet = await server.TaskProgressAsync("a", preview: true, seen: first.GetProperty("id_live_preview").GetInt32());
        await StepAsync(20);
        var later = await server.TaskProgressAsync("a", preview: true, seen: first.GetProperty("id_live_preview").GetInt32());
        await server.InterruptAsync();
        time.Advance(TimeSpan.FromSeconds(200));
        await Until.TrueAsync(() => Finish(asked, time), "answered");

        Assert.Multiple(() =>
        {
            Assert.That(none.GetProperty("live_preview").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(first.GetProperty("live_preview").GetString(), Does.StartWith("data:image/jpeg;base64,/9j/"));
            Assert.That(seen.GetProperty("live_preview").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(seen.GetProperty("id_live_preview").GetInt32(), Is.EqualTo(first.GetProperty("id_live_preview").GetInt32()));
            Assert.That(unasked.GetProperty("live_preview").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(
                notYet.GetProperty("live_preview").ValueKind,
                Is.EqualTo(JsonValueKind.Null),
                "each ten steps, as Forge does unless told otherwise");
            Assert.That(later.GetProperty("live_preview").GetString(), Does.StartWith("data:image/jpeg;base64,/9j/"));
            Assert.That(later.GetProperty("id_live_preview").GetInt32(), Is.GreaterThan(first.GetProperty("id_live_preview").GetInt32()));
        });

        Task StepAsync(int step) => Until.TrueAsync(
            async () =>
            {
                var state = (await server.GetAsync("sdapi/v1/progress?skip_current_image=true")).GetProperty("state");
                if (state.GetProperty("job_count").GetInt32() == 1 && state.GetProperty("sampling_step").GetInt32() == step)
                {
                    return true;
                }

                time.Advance(TimeSpan.FromSeconds(1));
                return false;
            },
            $"step {step}");
    }

    [TestCase("""{"id_task":null}""")]
    [TestCase("""{"id_task":7}""")]
    [TestCase("""{"id_task":"a","live_preview":"perhaps"}""")]
    public async Task TaskProgress_Gives422_WhenATypeIsWrong(string body)
    {
        await using var server = await StartAsync();

        var (status, _) = await server.SendAsync(HttpMethod.Post, "internal/progress", body);

        Assert.That(status, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
    }

    [Test]
    public async Task TaskProgress_SaysActive_WhenIdleAndNoTaskIsNamed()
    {
        await using var server = await StartAsync();

        var (_, missing) = await server.SendAsync(HttpMethod.Post, "internal/progress", "{}");
        var unknown = await server.TaskProgressAsync("unknown");

        Assert.That(missing.GetProperty("active").GetBoolean(), Is.True);
        Assert.That(unknown.GetProperty("active").GetBoolean(), Is.False);
        Assert.That(unknown.GetProperty("textinfo").GetString(), Is.EqualTo("Waiting..."));
    }

    [Test]
    public async Task Lock_LetsOneThroughAtATime_InTheOrderOfArrival()
    {
        await using var server = await StartAsync();
        var asked = new List<Task> { GenerateAsync("0", "[fault:stalled]") };
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("0")).GetProperty("active").GetBoolean(), "the first one runs");
        for (var i = 1; i < 6; i++)
        {
            asked.Add(GenerateAsync($"{i}", "kedi"));
            await Until.TrueAsync(
                async () => (await server.GetAsync("internal/pending-tasks")).GetProperty("size").GetInt32() == i, "all wait");
        }

        var pending = await server.GetAsync("internal/pending-tasks");
        var third = await server.TaskProgressAsync("3");
        await server.InterruptAsync();
        await Task.WhenAll(asked);

        var stats = server.Simulator.Stats.Snapshot();
        Assert.Multiple(() =>
        {
            Assert.That(
                pending.GetProperty("tasks").EnumerateArray().Select(task => task.GetString()),
                Is.EqualTo((string[])["1", "2", "3", "4", "5"]));
            Assert.That(third.GetProperty("queued").GetBoolean(), Is.True);
            Assert.That(third.GetProperty("textinfo").GetString(), Is.EqualTo("In queue: 3/5"));
            Assert.That(stats.Received.Select(request => request.Task), Is.EqualTo((string[])["0", "1", "2", "3", "4", "5"]));
            Assert.That((stats.Generated, stats.Interrupted, stats.InFlight, stats.MostInFlight), Is.EqualTo((5, 1, 0, 6)));
        });

        async Task GenerateAsync(string task, string prompt)
        {
            using var response = await server.GenerateAsync(prompt, task);
        }
    }

    [Test]
    public async Task Interrupt_GivesAHalfDoneImage_OnlyToTheRunningOne()
    {
        await using var server = await StartAsync();
        var running = server.GenerateAsync("[fault:stalled] kedi", "running", seed: 3);
        await Until.TrueAsync(
            async () => (await server.GetAsync("sdapi/v1/progress")).GetProperty("progress").GetDouble() > 0.5, "stalled half-way");
        var waiting = server.GenerateAsync("kedi", "waiting", seed: 3);
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("waiting")).GetProperty("queued").GetBoolean(), "queued");

        await server.InterruptAsync();
        var half = await GeneratedAsync(running);
        var whole = await GeneratedAsync(waiting);

        using var halfImage = Decode(half.GetProperty("images")[0]);
        using var wholeImage = Decode(whole.GetProperty("images")[0]);
        var undisturbed = await GeneratedAsync(server.GenerateAsync("kedi", seed: 3));
        Assert.Multiple(() =>
        {
            Assert.That((halfImage.Width, halfImage.Height), Is.EqualTo((64, 64)));
            Assert.That(half.TryGetProperty("interrupted", out _), Is.False);
            Assert.That(whole.GetProperty("images")[0].GetString(), Is.EqualTo(undisturbed.GetProperty("images")[0].GetString()));
        });
    }

    [Test]
    public async Task Interrupt_GivesNoImage_WhenTheModelIsStillLoading()
    {
        var time = new FakeTimeProvider();
        await using var server = await StartAsync(128_000, time);
        var asked = server.GenerateAsync(task: "a");
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("a")).GetProperty("active").GetBoolean(), "active");

        await server.InterruptAsync();
        await Until.TrueAsync(() => Finish(asked, time), "answered");

        Assert.That((await GeneratedAsync(asked)).GetProperty("images").GetArrayLength(), Is.Zero);
    }

    [Test]
    public async Task Interrupt_LeavesTheNextOneAlone_WhenNothingRuns()
    {
        await using var server = await StartAsync();

        await server.InterruptAsync();
        var answer = await GeneratedAsync(server.GenerateAsync());

        Assert.That(answer.GetProperty("images").GetArrayLength(), Is.EqualTo(1));
        Assert.That(server.Simulator.Stats.Snapshot().Interrupted, Is.Zero);
    }

    [Test]
    public async Task TextToImage_GoesOn_WhenTheClientHasGoneAway()
    {
        await using var server = await StartAsync(128);
        using (var leaving = new CancellationTokenSource())
        {
            var asked = server.Client.PostAsync(
                "sdapi/v1/txt2img", new StringContent(
                    """{"prompt":"kedi","width":256,"height":64,"steps":4,"force_task_id":"left"}"""), leaving.Token);
            await Until.TrueAsync(() => server.Simulator.Stats.Snapshot().InFlight == 1, "in flight");
            await leaving.CancelAsync();
            Assert.That(async () => await asked, Throws.InstanceOf<OperationCanceledException>());
        }

        await Until.TrueAsync(async () => (await server.TaskProgressAsync("left")).GetProperty("completed").GetBoolean(), "completed");

        Assert.That(server.Simulator.Stats.Snapshot().Generated, Is.EqualTo(1));
    }

    [Test]
    public async Task TaskProgress_ForgetsAllButTheNewest16Finished()
    {
        await using var server = await StartAsync();
        for (var i = 0; i < 18; i++)
        {
            using var response = await server.GenerateAsync(task: $"{i}");
        }

        Assert.That((await server.TaskProgressAsync("1")).GetProperty("completed").GetBoolean(), Is.False);
        Assert.That((await server.TaskProgressAsync("2")).GetProperty("completed").GetBoolean(), Is.True);
    }

    [Test]
    public async Task Models_ShowTheHash_WhenTheModelHasBeenLoaded()
    {
        await using var server = await StartAsync();
        var before = (await server.GetAsync("sdapi/v1/sd-models"))[0];
        using (await server.GenerateAsync())
        {
        }

        var after = (await server.GetAsync("sdapi/v1/sd-models"))[0];

        Assert.Multiple(() =>
        {
            Assert.That(before.GetProperty("title").GetString(), Is.EqualTo("flux1-dev-bnb-nf4-v2.safetensors"));
            Assert.That(before.GetProperty("hash").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(after.GetProperty("title").GetString(), Is.EqualTo("flux1-dev-bnb-nf4-v2.safetensors [f0770152e4]"));
            Assert.That(after.GetProperty("model_name").GetString(), Is.EqualTo(before.GetProperty("model_name").GetString()));
        });
    }

    [TestCase("sdapi/v1/options", "samples_format")]
    [TestCase("sdapi/v1/memory", "ram")]
    [TestCase("sdapi/v1/samplers", "\"name\":\"Euler\"")]
    [TestCase("sdapi/v1/schedulers", "\"label\":\"Simple\"")]
    [TestCase("internal/ping", "{}")]
    public async Task Get_AnswersAsForge(string path, string part)
    {
        await using var server = await StartAsync();

        Assert.That(await server.Client.GetStringAsync(path), Does.Contain(part));
    }

    [Test]
    public async Task Stop_EndsAllWaiting_WhenImagesAreBeingGenerated()
    {
        await using var server = await StartAsync(3600);
        var running = server.GenerateAsync(task: "a", width: 2048, height: 2048);
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("a")).GetProperty("active").GetBoolean(), "active");
        var waiting = server.GenerateAsync(task: "b");
        await Until.TrueAsync(async () => (await server.TaskProgressAsync("b")).GetProperty("queued").GetBoolean(), "queued");

        await server.StopAsync().WaitAsync(TimeSpan.FromSeconds(5));

        Assert.That(async () => await running, Throws.InstanceOf<HttpRequestException>());
        Assert.That(async () => await waiting, Throws.InstanceOf<HttpRequestException>());
    }

    [Test]
    [SetCulture("tr-TR")]
    public async Task Simulator_SpeaksTheSame_WhenTheCultureIsTurkish()
    {
        await using var server = await StartAsync();

        var (status, answer) = await server.SendAsync(
            HttpMethod.Post, "sdapi/v1/txt2img",
            """{"prompt":"Iİıi ışık","width":64,"height":64,"steps":2,"cfg_scale":1.5,"sampler_name":"DDIM"}""");
        var (set, _) = await server.SendAsync(HttpMethod.Post, "faults", """{"fault":"NOTJSON"}""");

        Assert.Multiple(() =>
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(Info(answer).GetProperty("infotexts")[0].GetString(), Does.Contain("CFG scale: 1.5"));
            Assert.That(Info(answer).GetProperty("sampler_name").GetString(), Is.EqualTo("DDIM"));
            Assert.That(set, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(server.Simulator.Faults.Current.Fault, Is.EqualTo(SimulatorFaults.NotJson));
        });
    }

    private static async Task<bool> Finish(Task<HttpResponseMessage> asked, FakeTimeProvider time)
    {
        time.Advance(TimeSpan.FromSeconds(20));
        await Task.Yield();
        return asked.IsCompleted;
    }
}
