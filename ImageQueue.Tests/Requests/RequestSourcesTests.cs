using System.Text.Json.Nodes;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Requests;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>What a request takes from the image that it starts from.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class RequestSourcesTests
{
    private static readonly string Id = new('a', 32);

    [TestCase(1024, 1024, 1024, 1024)]
    [TestCase(640, 480, 640, 480)]
    [TestCase(333, 517, 336, 520)] // To a multiple of 8.
    [TestCase(2048, 2048, 1024, 1024)] // To the model's area.
    [TestCase(2048, 512, 2048, 512)] // The same area in another shape.
    [TestCase(2048, 1024, 1448, 728)]
    [TestCase(10, 2048, 64, 2048)] // What can be requested.
    public async Task Size_IsTheSources_InWhatCanBeRequested(int width, int height, int expectedWidth, int expectedHeight)
    {
        var request = await CompleteAsync(new ImageSource { UploadId = Id }, width, height);

        Assert.That((request.Width, request.Height), Is.EqualTo((expectedWidth, expectedHeight)));
    }

    [Test]
    public async Task Size_IsTheRequestsOwn_WhereItHasOne()
    {
        var request = await CompleteAsync(new ImageSource { UploadId = Id }, 640, 480, asked => asked with { Width = 512 });

        Assert.That((request.Width, request.Height), Is.EqualTo(((int?)512, (int?)null)));
    }

    [TestCase(null, null, 0.55)]
    [TestCase(null, "mask", 0.75)]
    [TestCase(0.0, "mask", 0.0)]
    public async Task Strength_HasADefault(double? strength, string? mask, double expected)
    {
        var source = new ImageSource { UploadId = Id, Strength = (decimal?)strength, MaskUploadId = mask is null ? null : Id };

        Assert.That((await CompleteAsync(source, 64, 64)).Source!.Strength, Is.EqualTo((decimal)expected));
    }

    [TestCase(1024, 1024, 4, 4096, 4096)]
    [TestCase(333, 517, 2, 664, 1032)]
    public async Task Upscale_HasTheSourcesSizeTimesTheFactor(int width, int height, int factor, int expectedWidth, int expectedHeight)
    {
        var request = await CompleteAsync(new ImageSource { UploadId = Id, Upscale = factor }, width, height);

        Assert.That((request.Width, request.Height, request.Source!.Strength), Is.EqualTo((expectedWidth, expectedHeight, (decimal?)null)));
    }

    [TestCase(1032, 64, 4,
        "The image would have 4128 x 256 pixels; at most 4096 on a side can be made. "
            + "Send 2 as source.upscale, or start from a smaller one.")]
    public void Upscale_IsRefused_WhenTheResultWouldBeTooLarge(int width, int height, int factor, string sentence)
    {
        var refusal =
            Assert.ThrowsAsync<SourceException>(() => CompleteAsync(new ImageSource { UploadId = Id, Upscale = factor }, width, height))!;

        Assert.That((refusal.Problem, refusal.Field, refusal.Message), Is.EqualTo((SourceProblem.TooLarge, "source.upscale", sentence)));
    }

    [Test]
    public void Unsupported_IsRefused_OnceItIsKnown()
    {
        var refusal = Assert.ThrowsAsync<SourceException>(() => CompleteAsync(new ImageSource { UploadId = Id }, 64, 64, can: false))!;

        Assert.That((refusal.Problem, refusal.Field), Is.EqualTo((SourceProblem.Unsupported, "source")));
    }

    [TestCase("""{"seed":7}""", true)]
    [TestCase("""{"source":{"upscale":2,"upload_id":"x"}}""", false)]
    [TestCase("""{"source":5}""", false)]
    [TestCase("""{"source":{"message_id":"1","strength":"x","upscale":2.5,"upload_id":7}}""", false)]
    public void Of_ReadsWhatItCan_OfAnOddRow(string metadata, bool isNull)
    {
        var message = new Message
        {
            Id = 1,
            ConversationId = "c",
            Role = "bot",
            Content = "",
            ExtraMetadata = metadata,
            CreatedAt = default,
            UpdatedAt = default,
            QueuedAt = default(DateTimeOffset),
            Attempt = 0,
            Revision = 1,
        };

        Assert.That(() => ImageSource.Of(message), Throws.Nothing);
        if (isNull)
            Assert.That(ImageSource.Of(message), Is.Null);
    }

    [Test]
    public void ToJson_LeavesOutWhatIsNull() => Assert.That(
        JsonNode.DeepEquals(
            new ImageSource { MessageId = 7, JobId = "j", Strength = 0.5m }.ToJson(),
            JsonNode.Parse("""{"message_id":7,"job_id":"j","strength":0.5}""")));

    private static Task<ImageRequest> CompleteAsync(
        ImageSource source, int width, int height, Func<ImageRequest, ImageRequest>? change = null, bool can = true)
    {
        var conversations = Mock.Of<IConversationStore>(store => store.FindConversationAsync("c", It.IsAny<CancellationToken>())
            == Task.FromResult<Conversation?>(new Conversation("c", "ayşe", null, default)));
        var uploads = Mock.Of<IUploadStore>(store => store.FindUploadAsync(Id, It.IsAny<CancellationToken>())
            == Task.FromResult<Upload?>(new Upload(Id, "c", width, height)));
        var catalogue = Mock.Of<IForgeCatalogue>(one => one.Can(It.IsAny<ForgeTask>(), It.IsAny<IReadOnlyCollection<string>>()) == can);
        var request = new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir kedi", Source = source };
        return new RequestSources(conversations, uploads, new ForgeModels(new ForgeOptions()), catalogue).CompleteAsync(
            change?.Invoke(request) ?? request, default);
    }
}
