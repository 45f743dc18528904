using ImageQueue.Core.Forge;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>What each kind of backend says in a 500, and the failure it means.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class ForgeWordsTests
{
    [TestCaseSource(nameof(Words))]
    public void OfAnswer_NamesTheFailure_WhenABackendSaysItInItsWords(string error, string message, string field, ForgeFailure expected)
    {
        using var response = new HttpResponseMessage(System.Net.HttpStatusCode.InternalServerError);
        var body = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string> { ["error"] = error, [field] = message });

        var failure = ForgeFailures.OfAnswer(new ForgeBackend("gpu1", new Uri("http://gpu1")), response, body, TimeSpan.Zero);

        Assert.That((failure.Failure, failure.Reason), Is.EqualTo((expected, message)));
    }

    private static IEnumerable<TestCaseData> Words()
    {
        // Embedded.
        using var document = JsonDocument.Parse(typeof(ForgeWordsTests).Assembly.GetManifestResourceStream("Cases/memory-words.json")!);
        foreach (var entry in document.RootElement.EnumerateArray())
        {
            var message = entry.GetProperty("message").GetString()!;
            var expected = entry.GetProperty("expected").GetString() switch
            {
                "out_of_memory" => ForgeFailure.OutOfMemory,
                "backend_failed" => ForgeFailure.Failed,
                "disruption" => ForgeFailure.Disrupted,

                // Without a model the probe finds it, so nothing was taken. All else is a disruption that the canary meets as well:
                // it makes the backend unhealthy, and the request is not charged.
                _ => message.Contains("any model", StringComparison.Ordinal) ? ForgeFailure.Unavailable : ForgeFailure.Disrupted,
            };
            foreach (var field in (string[])["message", "errors"])
            {
                yield return new TestCaseData(
                    entry.GetProperty("error").GetString(), message, field, expected).SetArgDisplayNames(message, field);
            }
        }
    }
}
