using System.Net;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Api;
using ImageQueue.Web.Errors;
using NUnit.Framework;

namespace ImageQueue.Tests.Api;

/// <summary>A request that has to be repeated is carried out once, and the answer says so.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class IdempotencyTests
{
    private const string Images = "api/conversations/once/images";

    private const string Cat = """{"username":"ayşe","prompt":"a cat"}""";

    private static TestApp App { get; set; } = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => App = await TestApp.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await App.DisposeAsync();

    [TestCase("images", Cat, HttpStatusCode.Accepted)]
    [TestCase("messages", """{"username":"ayşe","role":"user","content":"merhaba","extra_metadata":{"a":1.0}}""", HttpStatusCode.Created)]
    public async Task SameKey_GivesTheSameMessage_AndSaysSo(string call, string body, HttpStatusCode status)
    {
        var path = $"api/conversations/same-{call}/{call}";
        var first = await PostAsync(path, body, "bir \\\"anahtar\\\"");
        var again = await PostAsync(path, body, "bir \\\"anahtar\\\"");
        var other = await PostAsync(path, body, "another");

        Assert.That(new[] { first.StatusCode, again.StatusCode, other.StatusCode }, Is.All.EqualTo(status));
        var ids = new[] { await IdAsync(first), await IdAsync(again), await IdAsync(other) };
        Assert.That(ids[1], Is.EqualTo(ids[0]).And.Not.EqualTo(ids[2]));
        Assert.That(again.Headers.Location, Is.EqualTo(first.Headers.Location));
        Assert.That((IsReplayed(first), IsReplayed(again), IsReplayed(other)), Is.EqualTo((false, true, false)));
    }

    [Test]
    public async Task SameKey_IsTheSame_QuotedAndBare()
    {
        var bare = await PostAsync(Images, Cat, "8e03978e-40d5");
        var quoted = await PostAsync(Images, Cat, "\"8e03978e-40d5\"");

        Assert.That(await IdAsync(quoted), Is.EqualTo(await IdAsync(bare)));
    }

    [TestCase("images", """{"username":"ayşe","prompt":"a dog"}""")]
    [TestCase("messages", """{"username":"ayşe","role":"user","content":"a cat"}""")]
    public async Task SameKey_IsRefused_WithAnotherRequest(string call, string body)
    {
        await PostAsync("api/conversations/reused/images", Cat, "k");

        var response = await PostAsync($"api/conversations/reused/{call}", body, "k");

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
        Assert.That((string?)(await TestApp.ReadAsync(response))["code"], Is.EqualTo("idempotency_key_reused"));
    }

    [TestCase(400, "two keys", "a", "b")]
    [TestCase(400, "two keys", "\"a\", \"b\"")]
    [TestCase(400, "close it", "\"a")]
    [TestCase(400, "close it", "\"a\"b")]
    [TestCase(422, "must not be empty", "")]
    [TestCase(422, "must not be empty", "\"\"")]
    public async Task Key_IsRefused_When(int status, string sentence, params string[] keys)
    {
        var response = await PostAsync(Images, Cat, keys);

        var problem = await TestApp.ReadAsync(response);
        Assert.That((int)response.StatusCode, Is.EqualTo(status), problem.ToJsonString());
        Assert.That(((string?)problem["detail"], (string?)problem["code"]), Is.EqualTo(((string?)problem["detail"], "invalid_request")));
        Assert.That((string?)problem["detail"], Does.Contain(sentence));
        Assert.That(problem["errors"]!["Idempotency-Key"], Is.Not.Null);
    }

    /// <summary>As two lines, which no proxy has joined.</summary>
    [Test]
    public void Key_IsRefused_WhenItIsThereTwice() =>
        Assert.That(() => IdempotencyKeyAttribute.Read(["a", "a"]), Throws.TypeOf<UnreadableException>().With.Message.Contains("2 times"));

    [TestCase("a b", "a b")]
    [TestCase("  a ", "a")]
    [TestCase("\"a, \\\"b\\\\\"", "a, \"b\\")]
    public void Key_IsReadAsItIsMeant(string header, string key) => Assert.That(IdempotencyKeyAttribute.Read([header]), Is.EqualTo(key));

    [Test]
    public async Task Key_IsRefused_WhenItIsTooLong() =>
        Assert.That((await PostAsync(Images, Cat, new string('x', 201))).StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));

    /// <summary>A client that repeats a request does not know of a deployment in between.</summary>
    [Test]
    public async Task Replay_StaysAReplay_AfterADeploymentWithOtherDefaults()
    {
        using var folder = new TemporaryFolder();
        long id;
        await using (var before = await TestApp.StartAsync(folder: folder))
            id = await IdAsync(await PostAsync(Images, Cat, ["k"], before.Http));

        await using var after = await TestApp.StartAsync(new() { ["Forge:Defaults:Steps"] = "28" }, folder);
        var again = await PostAsync(Images, Cat, ["k"], after.Http);

        Assert.That((await IdAsync(again), IsReplayed(again)), Is.EqualTo((id, true)));
    }

    [Test]
    public void Fingerprint_IsOfWhatWasSaid_NotOfHowItWasWritten()
    {
        var one = RequestFingerprint.Of("c", new { a = 1.50m, b = (string?)null, c = new { y = 1, x = "ş" } });

        Assert.Multiple(() =>
        {
            Assert.That(RequestFingerprint.Of("c", new { c = new { x = "ş", y = 1.0m }, a = 1.5m }), Is.EqualTo(one));
            Assert.That(RequestFingerprint.Of("d", new { a = 1.50m, c = new { y = 1, x = "ş" } }), Is.Not.EqualTo(one));
            Assert.That(RequestFingerprint.Of("c", new { a = 1.51m, c = new { y = 1, x = "ş" } }), Is.Not.EqualTo(one));
            Assert.That(
                RequestFingerprint.Of("c", new { a = 1.5m, c = new { y = 1, x = "ş", z = (string?)null } }),
                Is.Not.EqualTo(one),
                "inside, a null is something said");
            Assert.That(one, Does.Match("^[0-9a-f]{64}$"));
        });
    }

    private static Task<HttpResponseMessage> PostAsync(string path, string body, params string[] keys) =>
        PostAsync(path, body, keys, App.Http);

    private static async Task<HttpResponseMessage> PostAsync(string path, string body, string[] keys, HttpClient http)
    {
        using var request =
            new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        foreach (var key in keys)
            request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        return await http.SendAsync(request);
    }

    private static async Task<long> IdAsync(HttpResponseMessage response)
    {
        Assert.That(response.IsSuccessStatusCode, Is.True, await response.Content.ReadAsStringAsync());
        return (long)(await TestApp.ReadAsync(response))["id"]!;
    }

    private static bool IsReplayed(HttpResponseMessage response) =>
        response.Headers.TryGetValues("Idempotency-Replayed", out var values) && values.Single() == "true";
}
