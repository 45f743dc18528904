using ImageQueue.Tests.Support;
using ImageQueue.Web.Errors;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>Whatever is sent, the answer is a sentence that says what to do, and nothing is written.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class BadInputTests
{
    private static TestApp App { get; set; } = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => App = await TestApp.StartAsync(new() { ["Queue:MaxPendingPerUser"] = "3" });

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    private static IEnumerable<TestCaseData> BadImages()
    {
        yield return Case("an empty prompt", """{"username":"a","prompt":"  "}""", 422, "prompt must not be empty");
        yield return Case("no prompt", """{"username":"a"}""", 422, "prompt must not be empty");
        yield return Case("no username", """{"prompt":"a cat"}""", 422, "username must not be empty");
        yield return Case(
            "5000 characters", $$"""{"username":"a","prompt":"{{new string('x', 5000)}}"}""", 422, "at most 4000 characters, not 5000");
        yield return Case("width 63", """{"username":"a","prompt":"a cat","width":63}""", 422, "multiple of 8 from 64 to 2048, not 63");
        yield return Case("width 65", """{"username":"a","prompt":"a cat","width":65}""", 422, "multiple of 8 from 64 to 2048, not 65");
        yield return Case("height 4096", """{"username":"a","prompt":"a cat","height":4096}""", 422, "height must be");
        yield return Case("steps 0", """{"username":"a","prompt":"a cat","steps":0}""", 422, "steps must be from 1 to 150, not 0");
        yield return Case(
            "cfg_scale 30.5", """{"username":"a","prompt":"a cat","cfg_scale":30.5}""", 422, "cfg_scale must be from 0 to 30, not 30.5");
        yield return Case("seed -2", """{"username":"a","prompt":"a cat","seed":-2}""", 422, "seed must be from -1 to 4294967295");
        yield return Case("a control character", """{"username":"a","prompt":"a\u0000cat"}""", 422, "control character");
        yield return Case("half a surrogate pair", """{"username":"a","prompt":"a\ud800cat"}""", 400, "prompt holds half a character");
        yield return Case("an unknown field", """{"username":"a","prompt":"a cat","widht":512}""", 400, "The field widht is not known");
        yield return Case("a field twice", """{"username":"a","prompt":"a cat","prompt":"a dog"}""", 400, "twice");
        yield return Case("text for a number", """{"username":"a","prompt":"a cat","width":"512"}""", 400, "width must be a whole number");
        yield return Case(
            "a fraction for a whole number", """{"username":"a","prompt":"a cat","steps":2.5}""", 400, "steps must be a whole number");
        yield return Case("a number for text", """{"username":7,"prompt":"a cat"}""", 400, "username must be a text");
        yield return Case(
            "a number beyond 64 bits",
            """{"username":"a","prompt":"a cat","seed":99999999999999999999}""",
            400,
            "seed must be a whole number");
        yield return Case("broken JSON", """{"username":"a",""", 400, "not the JSON object");
        yield return Case("an array", "[]", 400, "not the JSON object");
        yield return Case("null", "null", 400, "empty");
        yield return Case("nothing", "", 400, "empty");
        yield return Case("70 KiB", $$"""{"username":"a","prompt":"{{new string('x', 70 * 1024)}}"}""", 413, "larger than 64 KiB");

        static TestCaseData Case(string name, string body, int status, string sentence) =>
            new TestCaseData(body, status, sentence).SetArgDisplayNames(name);
    }

    /// <summary>Who would rather have an image or events gets the sentence all the same.</summary>
    [TestCase("images/flux_00000000000000000000000000000000.png", "image/png", 404)]
    [TestCase("api/conversations/a%20/events", "text/event-stream", 422)]
    [TestCase("nothing/here", "text/html", 404)]
    public async Task Get_IsRefusedWithASentence_WhateverIsAccepted(string path, string accept, int status)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { { "Accept", accept } } };

        await AssertProblemAsync(await App.Http.SendAsync(request), status, "");
    }

    [Test]
    public async Task Patch_Is415WithTheRightAdvice_WhenTheBodyIsNoMergePatch() => await AssertProblemAsync(
        await App.Http.PatchAsync(
            "api/messages/1", new StringContent("a", Encoding.UTF8, "text/plain")), 415, "application/merge-patch+json");

    /// <summary>Programs see which field it is.</summary>
    [TestCase("""{"username":"a","prompt":"","width":63}""", "prompt,width")]
    [TestCase("""{"username":"a","prompt":"b","width":"x"}""", "width")]
    [TestCase("""{"username":"a","prompt":"b","widht":1}""", "widht")]
    public async Task Submit_NamesTheFields_WhenTheyAreWrong(string body, string fields)
    {
        var problem = await TestApp.ReadAsync(await App.Http.PostAsync("api/conversations/bad-input/images", Json(body)));

        Assert.That(problem["errors"]!.AsObject().Select(field => field.Key), Is.EquivalentTo(fields.Split(',')));
    }

    [TestCaseSource(nameof(BadImages))]
    public async Task Submit_IsRefusedWithASentence_AndNothingIsWritten_When(string body, int status, string sentence)
    {
        var before = await App.Services.GetRequiredService<IMessageStore>().LatestRevisionAsync(default);

        var response = await App.Http.PostAsync("api/conversations/bad-input/images", Json(body));

        await AssertProblemAsync(response, status, sentence);
        Assert.That(await App.Services.GetRequiredService<IMessageStore>().LatestRevisionAsync(default), Is.EqualTo(before));
    }

    [TestCase("v1/images/generations", 1, "larger than 1 MiB")]
    [TestCase("sdapi/v1/txt2img", 32, "larger than 32 MiB")]
    public async Task Body_IsRefusedWithTheLimitOfItsEndpoint(string path, int mebibytes, string sentence)
    {
        using var handler = new SocketsHttpHandler { Expect100ContinueTimeout = TimeSpan.FromMinutes(1) };
        using var http = new HttpClient(handler) { BaseAddress = App.Http.BaseAddress };
        using var request = new HttpRequestMessage(HttpMethod.Post, path)
        {
            Content = new ByteArrayContent(new byte[(mebibytes * 1024 * 1024) + 1])
            {
                Headers = { { "Content-Type", "application/json" } },
            },
            Headers = { ExpectContinue = true }, // So that it is refused before it is sent.
        };

        using var response = await http.SendAsync(request);

        Assert.That((int)response.StatusCode, Is.EqualTo(413));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain(sentence));
    }

    [TestCase("text/plain")]
    [TestCase("application/xml")]
    public async Task Submit_Is415_WhenTheBodyIsNotJson(string type) => await AssertProblemAsync(
        await App.Http.PostAsync(
            "api/conversations/bad-input/images", new StringContent("a cat", Encoding.UTF8, type)), 415, "Content-Type: application/json");

    [Test]
    public async Task Submit_Is405_WhenItIsAPut() => await AssertProblemAsync(
        await App.Http.PutAsync("api/conversations/bad-input/images", Json("{}")), 405, "does not take PUT");

    [TestCase("a%20", "begins or ends with a blank")]
    [TestCase("a%01b", "control character")]
    public async Task Submit_Is422_WhenTheConversationIdIsNoName(string id, string sentence) => await AssertProblemAsync(
        await App.Http.PostAsync($"api/conversations/{id}/images", Json("""{"username":"a","prompt":"a cat"}""")), 422, sentence);

    [Test]
    public async Task Submit_Is422_WhenTheConversationIdIsTooLong() => await AssertProblemAsync(
        await App.Http.PostAsync($"api/conversations/{new string('x', 101)}/images", Json("""{"username":"a","prompt":"a cat"}""")),
        422,
        "conversation_id must have at most 100 characters, not 101");

    [TestCase("api/messages/4242", 404, "Message 4242 not found")]
    [TestCase("api/conversations/missing/messages", 404, "Conversation missing not found")]
    [TestCase("api/messages/cat", 404, "There is nothing at /api/messages/cat")]
    [TestCase("images/flux_00000000000000000000000000000000.png", 404, "There is no such image")]
    [TestCase("images/flux_..%2Fimagequeue.png", 404, "")]
    [TestCase("api/conversations/missing/messages?limit=0", 400, "limit must be a whole number from 1 to 200.")]
    [TestCase("api/conversations/missing/messages?after=x", 400, "after must be a whole number, at least 0.")]
    [TestCase("api/conversations/missing/messages?before=-1", 400, "before must be a whole number, at least 1.")]
    [TestCase("api/conversations/missing/messages?before=2&after=1", 400, "Send after or before, not both.")]
    [TestCase("api/conversations/%20/messages", 422, "conversation_id must not be empty")]
    [TestCase("api/conversations/a%20/messages", 422, "begins or ends with a blank")]
    [TestCase("api/conversations/a%FFb/messages", 422, "conversation_id is not valid UTF-8")]
    [TestCase("api/conversations/a%0Ab/events", 422, "control character")]
    [TestCase("api/events?conversation_id=a%20", 422, "begins or ends with a blank")]
    [TestCase("api/events?last_event_id=x", 400, "Last-Event-ID must be a revision")]
    [TestCase("api/conversations", 422, "username must not be empty")]
    [TestCase("api/conversations?username=a&limit=x", 400, "limit must be a whole number from 1 to 200.")]
    public async Task Get_IsRefusedWithASentence_When(string path, int status, string sentence) =>
        await AssertProblemAsync(await App.Http.GetAsync(path), status, sentence);

    [Test]
    public async Task Submit_Is403_WhenTheConversationIsSomebodyElses()
    {
        await App.SubmitAsync("mine", "hers", "ayşe");

        var response = await App.Http.PostAsync("api/conversations/hers/images", Json("""{"username":"mehmet","prompt":"a cat"}"""));

        await AssertProblemAsync(response, 403, "belongs to another user");
    }

    [Test]
    public async Task Submit_Is429WithRetryAfter_WhenTheUserHasTooManyWaiting()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Queue:MaxPendingPerUser"] = "2", ["Forge:Simulator:SecondsPerImage"] = "600" });
        var first = await app.SubmitAsync("one");
        await app.WaitForAsync((long)first["id"]!, MessageStatus.Processing);
        await app.SubmitAsync("two", "another conversation");
        await app.SubmitAsync("three");

        var response = await app.Http.PostAsync("api/conversations/demo/images", Json("""{"username":"ayşe","prompt":"four"}"""));

        await AssertProblemAsync(response, 429, "already have 2 images waiting");
        Assert.That(response.Headers.RetryAfter?.Delta, Is.GreaterThan(TimeSpan.Zero));
    }

    [TestCase("""{"extra_metadata":{"status":"complete"}}""", 422, "status of an image message is written by ImageQueue alone")]
    [TestCase("""{"extra_metadata":{"result":null}}""", 422, "result of an image message")]
    [TestCase("""{"extra_metadata":[]}""", 422, "must be a JSON object, not an array")]
    [TestCase("""{"extra_metadata":{"a\"b":1}}""", 422, "quotation mark")]
    [TestCase("""{"extra_metadata":{"a":1,"a":2}}""", 400, "twice")]
    [TestCase("""{"extra":{}}""", 400, "The field extra is not known")]
    public async Task Patch_IsRefusedWithASentence_When(string body, int status, string sentence)
    {
        var id = (long)(await App.SubmitAsync("a cat", "patches"))["id"]!;
        await App.WaitForAsync(id, MessageStatus.Complete);
        var before = await App.GetMessageAsync(id);

        var response = await App.Http.PatchAsync(
            $"api/messages/{id}", new StringContent(body, Encoding.UTF8, "application/merge-patch+json"));

        await AssertProblemAsync(response, status, sentence);
        Assert.That((await App.GetMessageAsync(id)).ToJsonString(), Is.EqualTo(before.ToJsonString()));
    }

    [Test]
    public async Task CancelAndRetry_Are409_WhenTheStateDoesNotAllowThem()
    {
        var id = (long)(await App.SubmitAsync("a cat"))["id"]!;
        await App.WaitForAsync(id, MessageStatus.Complete);

        await AssertProblemAsync(await App.Http.PostAsync($"api/messages/{id}/cancel", null), 409, $"message {id} is complete");
        await AssertProblemAsync(await App.Http.PostAsync($"api/messages/{id}/retry", null), 409, $"message {id} is complete");
        await AssertProblemAsync(await App.Http.PostAsync("api/messages/4242/retry", null), 404, "Message 4242 not found");
    }

    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/json");

    private static async Task AssertProblemAsync(HttpResponseMessage response, int status, string sentence)
    {
        var text = await response.Content.ReadAsStringAsync();
        Assert.That((int)response.StatusCode, Is.EqualTo(status), text);
        Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("application/problem+json"), text);
        var problem = await TestApp.ReadAsync(response);
        var code = (string?)problem["code"] ?? "";
        Assert.Multiple(() =>
        {
            Assert.That(ProblemCodes.Titles, Does.ContainKey(code), text);
            Assert.That((string?)problem["type"], Is.EqualTo($"/problems/{code}"));
            Assert.That((string?)problem["title"], Is.EqualTo(ProblemCodes.Titles.GetValueOrDefault(code)));
            Assert.That((int)problem["status"]!, Is.EqualTo(status));
            Assert.That((string?)problem["trace_id"], Does.Match("^[0-9a-f]{32}$"));
            Assert.That((string?)problem["detail"], Does.Contain(sentence));
            Assert.That(
                problem.Select(member => member.Key),
                Is.SubsetOf(new[] { "type", "title", "status", "detail", "code", "trace_id", "errors" }));
            Assert.That(
                text,
                Does.Not.Contain("conversationId").And.Not.Contain("9.22E").And.Not.Contain("is not valid for").And.Not.Contain("traceId"));
        });
        if (problem["errors"] is { } errors)
            Assert.That(errors.AsObject().SelectMany(field => field.Value!.AsArray()).Select(one => (string?)one), Is.All.Not.Empty);
    }
}
