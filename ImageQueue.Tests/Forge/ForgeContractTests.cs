using System.Text.Json.Nodes;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>
/// The pairs in <c>Cases/forge</c> are requests to Forge's own API layer and its answers (<c>modules/api/api.py</c>, <c>models.py</c>,
/// <c>progress.py</c>): the client sends and reads them, and the simulator answers in the same shape.
/// </summary>
[TestFixture]
[CancelAfter(30_000)]
[Category(Categories.App)]
public sealed class ForgeContractTests
{
    private const string Folder = "Cases/forge/";

    private ServiceProvider _services = null!; // Set before each test.
    private IForgeClient _client = null!;

    private static IEnumerable<string> All => typeof(ForgeContractTests).Assembly.GetManifestResourceNames()
        .Where(name => name.StartsWith(Folder, StringComparison.Ordinal)).Select(name => name[Folder.Length..^".json".Length]);

    private static IEnumerable<string> Read => All.Where(name => PairOf(name)["client"] is not null);

    [SetUp]
    public void SetUp()
    {
        _services = new ServiceCollection().AddLogging().AddForgeClient().BuildServiceProvider();
        _client = _services.GetRequiredService<IForgeClient>();
    }

    [TearDown]
    public async Task TearDown() => await _services.DisposeAsync();

    [TestCaseSource(nameof(Read))]
    public async Task Client_SendsTheRequest_AndReadsTheAnswer(string name, CancellationToken cancellationToken)
    {
        var (pair, expected) = (PairOf(name), PairOf(name)["client"]!);
        await using var server = await StubServer.StartAsync();
        if (!PathOf(pair).EndsWith("txt2img", StringComparison.Ordinal))
            AnswerGets(server);
        Answer(server, pair);

        var read = await ReadAsync(server.Backend, pair, cancellationToken);

        Assert.That(JsonNode.DeepEquals(read, expected), Is.True, $"{read.ToJsonString()} is not {expected.ToJsonString()}");
        var sent = server.Requests.First(request => request.Path == PathOf(pair).Split('?')[0]);
        Assert.That(sent.Method, Is.EqualTo((string?)pair["request"]!["method"]));
        if (pair["request"]!["body"] is { } body)
            Assert.That(JsonNode.DeepEquals(JsonNode.Parse(sent.Body), body), Is.True, $"{sent.Body} is not {body.ToJsonString()}");
    }

    [Test]
    public async Task Client_LearnsFromTheLists(CancellationToken cancellationToken)
    {
        await using var server = await StubServer.StartAsync();
        AnswerGets(server);

        var learned = await _client.LearnAsync(server.Backend, cancellationToken);

        Assert.Multiple(() =>
        {
            Assert.That(learned.HasModel("flux1-dev-fp8"), Is.True);
            Assert.That(learned.LoadedModel, Does.Contain("flux1-dev-fp8"));
            Assert.That((learned.Modules, learned.TaskIds), Is.EqualTo(((bool?)true, (bool?)true)));
            Assert.That((learned.Samplers.Names, learned.Schedulers.Names), Is.EqualTo((new[] { "Euler" }, new[] { "Simple" })));
        });
        Assert.That(await _client.WhyUnhealthyAsync(server.Backend, cancellationToken), Is.Null);
    }

    [TestCaseSource(nameof(All))]
    public async Task Simulator_AnswersInTheSameShape(string name)
    {
        var pair = PairOf(name);
        await using var server = await SimulatorServer.StartAsync(secondsPerImage: (bool?)pair["generating"] == true ? 600 : 0);
        var generating = (bool?)pair["generating"] == true ? server.GenerateAsync(task: "task-1") : null;
        if (generating is not null)
            await Until.TrueAsync(async () => (await server.TaskProgressAsync("task-1")).GetProperty("active").GetBoolean());

        using var request = new HttpRequestMessage(new HttpMethod((string)pair["request"]!["method"]!), PathOf(pair)[1..]);
        if (pair["request"]!["body"] is { } body)
            request.Content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var response = await server.Client.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();

        Assert.That((int)response.StatusCode, Is.EqualTo((int)pair["answer"]!["status"]!), text);
        Assert.That(Missing(pair["answer"]!["body"], JsonNode.Parse(text), "$"), Is.Empty, text);
        await server.KillAsync();
        if (generating is not null)
            Assert.ThrowsAsync(Is.InstanceOf<Exception>(), () => generating);
    }

    /// <summary>What the client makes of the pair's answer.</summary>
    private async Task<JsonNode> ReadAsync(ForgeBackend backend, JsonNode pair, CancellationToken cancellationToken)
    {
        try
        {
            switch (PathOf(pair))
            {
                case "/sdapi/v1/txt2img":
                    var prompt = (string)pair["request"]!["body"]!["prompt"]!;
                    var image = await _client.GenerateAsync(backend, "task-1", RequestOf(prompt), cancellationToken);
                    return JsonSerializer.SerializeToNode(new
                    {
                        seed = image.Info?.Seed,
                        model = image.Info?.Model,
                        sampler = image.Info?.Sampler,
                        scheduler = image.Info?.Scheduler,
                    })!;
                case "/internal/progress":
                    var progress = await _client.GetProgressAsync(backend, "task-1", withPreview: false, cancellationToken);
                    return JsonSerializer.SerializeToNode(new { state = $"{progress.State}", fraction = progress.Fraction })!;
                default:
                    var state = await _client.GetServerStateAsync(backend, cancellationToken);
                    return JsonSerializer.SerializeToNode(new { idle = state?.IsIdle, interrupted = state?.WasInterrupted })!;
            }
        }
        catch (ForgeException e)
        {
            return JsonSerializer.SerializeToNode(new { failure = $"{e.Failure}", reason = e.Reason })!;
        }
    }

    private static GenerationRequest RequestOf(string prompt) => new()
    {
        Prompt = prompt,
        Width = 64,
        Height = 64,
        Steps = 4,
        CfgScale = 1m,
        DistilledCfgScale = 3.5m,
        Sampler = "Euler",
        Scheduler = "Simple",
        Seed = 42,
    };

    private static void AnswerGets(StubServer server)
    {
        foreach (var pair in All.Select(PairOf).Where(pair => (string?)pair["request"]!["method"] == "GET"))
            Answer(server, pair);
    }

    private static void Answer(StubServer server, JsonNode pair) => server[PathOf(pair).Split('?')[0]] =
        ((int)pair["answer"]!["status"]!, pair["answer"]!["body"]!.ToJsonString());

    /// <summary>What the recorded answer has and the other lacks, or has as another kind; null is of any kind.</summary>
    private static IEnumerable<string> Missing(JsonNode? recorded, JsonNode? other, string at)
    {
        if (recorded is null || other is null)
            return [];
        if (recorded.GetValueKind() != other.GetValueKind() && !(IsBool(recorded) && IsBool(other)))
            return [$"{at} is {other.GetValueKind()}, not {recorded.GetValueKind()}"];
        return (recorded, other) switch
        {
            (JsonObject has, JsonObject answered) => has.SelectMany(member => answered.ContainsKey(member.Key)
                ? Missing(member.Value, answered[member.Key], $"{at}.{member.Key}")
                : [$"{at}.{member.Key} is missing"]),
            (JsonArray { Count: > 0 } has, JsonArray answered) => answered.Count == 0
                ? [$"{at} is empty"]
                : Missing(has[0], answered[0], $"{at}[0]"),
            (JsonValue has, JsonValue answered) when at.EndsWith(".info", StringComparison.Ordinal) =>
                Missing(JsonNode.Parse((string)has!), JsonNode.Parse((string)answered!), at + "!"),
            _ => [],
        };

        static bool IsBool(JsonNode node) => node.GetValueKind() is JsonValueKind.True or JsonValueKind.False;
    }

    private static string PathOf(JsonNode pair) => (string)pair["request"]!["path"]!;

    private static JsonNode PairOf(string name)
    {
        using var stream = typeof(ForgeContractTests).Assembly.GetManifestResourceStream($"{Folder}{name}.json")!; // Embedded.
        return JsonNode.Parse(stream)!;
    }
}
