using ImageQueue.Tests.Messages;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>Rows that were written by hand.</summary>
public abstract partial class MessageStoreContract
{
    /// <summary>Documents that no object reader takes, and what is left of them.</summary>
    private static IEnumerable<TestCaseData> OddDocuments =>
    [
        new TestCaseData(null, "{}").SetArgDisplayNames("NULL"),
        new TestCaseData("[]", "{}"),
        new TestCaseData("""[{"status":"queued"}]""", "{}"),
        new TestCaseData(" \n\t{\"a\":1}", """{"a":1}""").SetArgDisplayNames("blanks before the object"),
        new TestCaseData($$"""{"a":1,"deep":{{Nested(100)}},"b":2}""", """{"a":1,"b":2}""").SetArgDisplayNames("100 levels deep"),
        new TestCaseData("""{"a":"\ud83d","b":"\ud83d\ude00"}""", """{"b":"😀"}"""),
        new TestCaseData("""{"a":{"\udc00":1},"b":2}""", """{"b":2}"""),
        new TestCaseData("""{"a":1,"a":2,"c":3}""", """{"a":1,"c":3}"""),
        new TestCaseData("""{"a":{"b":1,"b":2},"c":3}""", """{"c":3}"""),
        new TestCaseData(
            """{"status":7,"progress":"half","queue_position":1e99,"error":["x"],"settings":"none"}""",
            """{"status":7,"progress":"half","queue_position":1e99,"error":["x"],"settings":"none"}"""),
    ];

    /// <summary>It is read as far as it can be, alone and among others, and so is its change.</summary>
    [TestCaseSource(nameof(OddDocuments))]
    public async Task OddRow_IsReadAsFarAsItCanBe(string? document, string readable)
    {
        var (before, odd, after) = (await SubmitAsync(), await SubmitAsync(), await SubmitAsync());
        await Database.SetMetadataAsync(odd.Id, document);

        var list = await ListAsync();

        Assert.That(list.Select(row => row.Id), Is.EqualTo(new[] { before.Id, odd.Id, after.Id }));
        var read = list[1];
        Assert.That(JsonStructure.Difference(readable, read.Metadata.GetRawText()), Is.Null);
        Assert.That(JsonStructure.Difference(readable, read.CopyMetadata().ToJsonString()), Is.Null);
        Assert.That(
            () => (read.Status, read.JobId, read.Progress, read.QueuePosition, read.Prompt, read.ImageUrl, read.Error, read.ErrorCode),
            Throws.Nothing);
        Assert.That((await Store.ChangesSinceAsync(0, null, 10, CancellationToken.None)).Count, Is.EqualTo(3));
    }

    /// <summary>A merge into it gives an object again.</summary>
    [TestCase(null, """{"x":1}""")]
    [TestCase("[1,2]", """{"x":1}""")]
    [TestCase("\n {\"a\": {\"b\": 1}}", """{"a":{"b":1},"x":1}""")]
    public async Task OddRow_TakesAMerge(string? document, string merged)
    {
        var message = await AddAsync();
        await Database.SetMetadataAsync(message.Id, document);

        AssertMetadata(
            merged, await Store.UpdateMessageAsync(message.Id, null, MetadataPatch.Parse("""{"x":1}"""), CancellationToken.None));
        Assert.That((await ReadAsync(message.Id))!.ExtraMetadata, Does.StartWith("{"));
    }

    private static string Nested(int levels) => new StringBuilder().Insert(0, "{\"x\":", levels).Append('0').Append('}', levels).ToString();
}
