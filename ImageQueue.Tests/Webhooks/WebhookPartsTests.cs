using System.Net;
using Hangfire;
using Hangfire.InMemory;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>Signatures, addresses, settings, and how far each receiver is.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class WebhookPartsTests
{
    /// <summary>The example of the specification's reference libraries.</summary>
    [Test]
    public void Signature_MatchesTheSpecificationsExample()
    {
        var key = WebhookSignature.KeyOf(TestReceiver.Secret)!;

        var signature = WebhookSignature.Of(
            [key], "msg_p5jXN8AQM9LWM0D4loKWxJek", DateTimeOffset.FromUnixTimeSeconds(1614265330), "{\"test\": 2432232314}"u8);

        Assert.That(signature, Is.EqualTo("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    /// <summary>While secrets rotate, who knows the old one and who knows the new one both find theirs.</summary>
    [Test]
    public void Signature_HasOneForEachSecret()
    {
        var receiver = WebhookReceiver.From(
            new WebhookOptions { Url = new Uri("https://chat.example/hooks"), Secret = $"the-old-secret-in-plain  {TestReceiver.Secret}" });

        Assert.That(
            receiver.Keys,
            Is.EqualTo(
                new[] { Encoding.UTF8.GetBytes("the-old-secret-in-plain"), Convert.FromBase64String("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") }));
        Assert.That(
            WebhookSignature.Of(receiver.Keys, "id", DateTimeOffset.UnixEpoch, "{}"u8).Split(' '),
            Has.Length.EqualTo(2).And.All.StartsWith("v1,"));
        Assert.That(receiver.Name, Does.Match("^chat\\.example-[0-9a-f]{8}$"));
    }

    [TestCase("8.8.8.8", true)]
    [TestCase("172.32.0.1", true)]
    [TestCase("2606:4700::1111", true)]
    [TestCase("::ffff:8.8.8.8", true)]
    [TestCase("10.1.2.3", false)]
    [TestCase("100.64.0.1", false)]
    [TestCase("127.0.0.53", false)]
    [TestCase("169.254.169.254", false)]
    [TestCase("172.31.255.255", false)]
    [TestCase("192.168.0.1", false)]
    [TestCase("0.0.0.0", false)]
    [TestCase("224.0.0.1", false)]
    [TestCase("255.255.255.255", false)]
    [TestCase("::", false)]
    [TestCase("::1", false)]
    [TestCase("fe80::1", false)]
    [TestCase("fd00::1", false)]
    [TestCase("ff02::1", false)]
    [TestCase("::ffff:10.0.0.1", false)]
    [TestCase("64:ff9b::a00:1", false)]
    [TestCase("2002:a00:1::", false)]
    [TestCase("2001:0:1::", false)]
    public void Address_IsPublicOrNot(string address, bool isPublic) =>
        Assert.That(PublicAddresses.Holds(IPAddress.Parse(address)), Is.EqualTo(isPublic));

    [TestCase("Webhooks:0:Url", "ftp://chat.example", "Webhooks:0:Url must be an address such as https://")]
    [TestCase("Webhooks:0:Url", "https://me:secret@chat.example", "must not hold a user, a password")]
    [TestCase("Webhooks:0:Url", "http://192.168.0.7/hooks", "Webhooks:0:Url is a private address. Set Webhooks:AllowPrivate")]
    [TestCase("Webhooks:0:Url", "http://localhost:8080", "Webhooks:0:Url is a private address. Set Webhooks:AllowPrivate")]
    [TestCase("Webhooks:0:Secret", "", "Webhooks:0:Secret is missing")]
    [TestCase("Webhooks:0:Secret", "short", "Webhooks:0:Secret must be whsec_ and base64, or a text, of 16 bytes at least")]
    [TestCase("Webhooks:0:Secret", "whsec_not-base64!", "Webhooks:0:Secret must be whsec_ and base64")]
    [TestCase("Webhooks:0:Events:0", "image.done", "Webhooks:0:Events names image.done, which is none of image.complete, image.error")]
    [TestCase("Webhooks:0:Uri", "x", "Uri")]
    [TestCase("Webhooks:Url", "x", "Webhooks:Url is no setting")]
    [TestCase("Webhooks:Timeout", "00:10:00", "Webhooks:Timeout must be between")]
    [TestCase("Webhooks:1:Url", "https://chat.example/hooks", "Webhooks:1:Url is the same as Webhooks:0:Url")]
    public void Start_SaysWhatIsWrong(string key, string value, string sentence)
    {
        var settings =
            new Dictionary<string, string?>
            {
                ["Webhooks:0:Url"] = "https://chat.example/hooks",
                ["Webhooks:0:Secret"] = TestReceiver.Secret,
            };
        settings[key] = value;

        Assert.That(async () => await TestApp.StartAsync(settings), Throws.Exception.With.Message.Contains(sentence));
    }

    /// <summary>Jobs that go with the process are found again from its note; those of others are not sent twice.</summary>
    [Test]
    public void Position_GoesBack_ForAReceiverWithUndeliveredEvents()
    {
        using var storage = new InMemoryStorage();
        var position = new WebhookPosition(storage);
        position.Begin(null, latest: 10);
        foreach (var (receiver, revision) in new[] { ("a", 11L), ("b", 11L), ("a", 12L), ("a", 12L), ("b", 13L) })
            position.Open(receiver, revision);
        position.Advance(20);
        foreach (var (receiver, revision) in new[] { ("b", 11L), ("b", 13L), ("a", 11L), ("a", 12L) }) // One of two.
            position.Close(receiver, revision);

        var next = new WebhookPosition(storage);
        next.Begin(position.ToNote(), latest: 99);
        Assert.That(next.Read, Is.EqualTo(11));
        Assert.That(
            (
                next.Misses("a", 12),
                next.Misses("a", 11),
                next.Misses("b", 12),
                next.Misses("b", 20),
                next.Misses("b", 21),
                next.Misses("new", 15)),
            Is.EqualTo((true, false, false, false, true, false)));
        next.Advance(15);
        Assert.That((next.Read, next.Misses("a", 15), next.Misses("a", 16), next.Misses("b", 16)), Is.EqualTo((15L, false, true, false)));
        next.Advance(25);
        Assert.That((next.Read, next.Misses("a", 25), next.Misses("b", 26)), Is.EqualTo((25L, false, true)));
    }

    /// <summary>Hangfire on SQL Server keeps its jobs: an enqueued delivery is not lost with the process.</summary>
    [Test]
    public void Position_IsWhereTheJobsAre_WhenTheyOutliveTheProcess()
    {
        var position = new WebhookPosition(new Mock<JobStorage>().Object);
        position.Begin(null, latest: 10);
        position.Open("a", 11);
        position.Advance(20);

        var next = new WebhookPosition(new Mock<JobStorage>().Object);
        next.Begin(position.ToNote(), latest: 99);

        Assert.That(next.Read, Is.EqualTo(20));
    }
}
