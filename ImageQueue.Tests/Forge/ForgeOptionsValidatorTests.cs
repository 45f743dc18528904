using ImageQueue.Core.Forge;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

[TestFixture]
public sealed class ForgeOptionsValidatorTests
{
    [Test]
    public void Validate_Succeeds_WhenBackendsAreGood()
    {
        var result = Validate(
            new() { Url = new Uri("http://gpu1:7860") },
            new() { Url = new Uri("https://gpu2/forge/"), Username = "u", Password = "p" });

        Assert.That(result, Is.Empty);
    }

    [TestCase(null)]
    [TestCase("gpu1:7860")]
    [TestCase("/forge")]
    [TestCase("ftp://gpu1")]
    public void Validate_NamesTheKey_WhenUrlIsNoAddress(string? url)
    {
        var result = Validate(
            new() { Url = new Uri("http://gpu0") },
            new() { Url = url is null ? null : new Uri(url, UriKind.RelativeOrAbsolute) });

        Assert.That(result, Is.EqualTo("Forge:Backends:1:Url must be an address such as http://gpu1:7860."));
    }

    [Test]
    public void Validate_NamesBothKeys_WhenServerIsThereTwice()
    {
        var result = Validate(new() { Url = new Uri("http://gpu1:80/") }, new() { Url = new Uri("http://u:p@GPU1") });

        Assert.That(result, Is.EqualTo("Forge:Backends:1:Url is the same server as Forge:Backends:0:Url."));
    }

    [Test]
    public void Validate_NamesTheKey_WhenPasswordHasNoUser()
    {
        var result = Validate(new ForgeBackendOptions { Url = new Uri("http://gpu1"), Password = "p" });

        Assert.That(result, Does.StartWith("Forge:Backends:0:Password"));
    }

    private static string Validate(params ForgeBackendOptions[] backends) => string.Join(
        ' ', new ForgeOptionsValidator().Validate(null, new ForgeOptions { Backends = backends }).Failures ?? []);
}
