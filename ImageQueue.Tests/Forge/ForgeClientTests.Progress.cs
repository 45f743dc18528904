using ImageQueue.Core.Forge;
using Microsoft.AspNetCore.Http;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>Progress, interrupt and probe.</summary>
public sealed partial class ForgeClientTests
{
    [TestCase(
        """{"active":true,"queued":false,"completed":false,"progress":0.42,"eta":3.1,"id_live_preview":-1}""", ForgeTaskState.Active, 0.42)]
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
    public async Task GetProgressAsync_RequestsNewerPreviewsOnly_WhenItHasOne()
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

    [TestCase(
        """{"progress":0.0,"state":{"job":"","job_count":0,"sampling_step":19},"current_image":null}""", ForgeTaskState.Unknown, null)]
    [TestCase("""{"progress":0.31,"state":{"job":"txt2img","job_count":1}}""", ForgeTaskState.Active, 0.31)]
    [TestCase("""{"progress":0,"state":{"job":"scripts_txt2img"}}""", ForgeTaskState.Active, 0.0)]
    [TestCase("""{"progress":0.5}""", ForgeTaskState.Active, 0.5)]
    public async Task GetProgressAsync_ReadsGlobalProgress_WhenTaskIdsAreUnknown(string body, ForgeTaskState state, double? fraction)
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
    public async Task GetProgressAsync_StopsCallingAnEndpoint_WhenItIsGone(CancellationToken cancellationToken)
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
    public async Task GetProgressAsync_TreatsAnEndpointAsMissing_WhenAPageAnswersEveryPath(CancellationToken cancellationToken)
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
    public async Task ShortCalls_SayUnavailable_WhenThereIsNoAnswerInTime(
        [Values("progress", "interrupt", "probe")] string call, [Values] bool inBody)
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
        var probe = call == "probe" ? _client.WhyUnhealthyAsync(_backend, default) : null;
        Task<ForgeException?> outcome = call switch
        {
            "progress" => Outcome(_client.GetProgressAsync(_backend, "t", false, default)),
            "interrupt" => Outcome(_client.InterruptAsync(_backend, "t", default)),
            _ => Outcome(probe!),
        };

        await reached.Task;
        _time.Advance(TimeSpan.FromSeconds(5));
        var exception = await outcome;

        if (call == "probe")
        {
            Assert.That(await probe!, Is.EqualTo("gpu1 did not answer within 5 s"));
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
            _client.WhyUnhealthyAsync(_backend, cancel.Token),
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
    public async Task InterruptAsync_ReadsGlobalState_WhenTaskIdsAreUnknown(bool shared, string progress, bool expected)
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
    [TestCase(401, """{"detail":"Incorrect username or password"}""",
        "it refuses the user and password (Forge:Backends:n:Username and Password)")]
    [TestCase(502, "", "gpu1 answered 502 Bad Gateway")]
    [TestCase(500, """{"message":"boom"}""", "boom")]
    public async Task WhyUnhealthyAsync_ChecksSamplersThenModels(int status, string body, string? why)
    {
        Answer(status, body);

        var trouble = await _client.WhyUnhealthyAsync(_backend, default);

        Assert.Multiple(() =>
        {
            Assert.That(trouble, Is.EqualTo(why));
            Assert.That(Paths(), Is.EqualTo(why is null ? "/sdapi/v1/samplers /sdapi/v1/sd-models" : "/sdapi/v1/samplers"));
        });
    }
}
