using ImageQueue.Core.Forge;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

[TestFixture]
[Category(Categories.Fast)]
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

    [TestCase("http://gpu1:7860/sdapi/v1", "http://gpu1:7860, without /sdapi/v1")]
    [TestCase("http://gpu1:7860/sdapi/v1/", "http://gpu1:7860, without /sdapi/v1/")]
    [TestCase("http://gpu1:7860/sdapi/v1/txt2img", "http://gpu1:7860, without /sdapi/v1/txt2img")]
    [TestCase("http://u:p@gpu1:7860/docs", "http://gpu1:7860, without /docs")]
    [TestCase("https://gpu1/forge/docs", "https://gpu1/forge, without /docs")]
    [TestCase("https://gpu1/mydocs", null)]
    public void Validate_NamesTheRightAddress_WhenUrlIsThatOfAnEndpoint(string url, string? right) => Assert.That(
        Validate(new ForgeBackendOptions { Url = new Uri(url) }),
        Is.EqualTo(right is null ? "" : $"Forge:Backends:0:Url must be the server's base address, {right}."));

    [TestCase("http://gpu1:80/", "http://u:p@GPU1")]
    [TestCase("http://h/x", "http://h/x/")]
    public void Validate_NamesBothKeys_WhenServerIsThereTwice(string one, string two)
    {
        var result = Validate(new() { Url = new Uri(one) }, new() { Url = new Uri(two) });

        Assert.That(result, Is.EqualTo("Forge:Backends:1:Url is the same server as Forge:Backends:0:Url."));
    }

    [Test]
    public void Validate_NamesTheKey_WhenPasswordHasNoUser()
    {
        var result = Validate(new ForgeBackendOptions { Url = new Uri("http://gpu1"), Password = "p" });

        Assert.That(result, Does.StartWith("Forge:Backends:0:Password"));
    }

    [TestCase("http://gpu1", "aa", null,
        "Forge:Backends:0:CertificateAuthority and CertificateFingerprint need an address that begins with https. "
            + "Forge:Backends:0:CertificateFingerprint must be a SHA-256 in hex: 64 digits.")]
    [TestCase("https://gpu1", "not hex", null, "Forge:Backends:0:CertificateFingerprint must be a SHA-256 in hex: 64 digits.")]
    [TestCase("https://gpu1", "AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa:AA:aa", null, "")]
    public void Validate_NamesTheKey_WhenCertificateIsNone(string url, string? fingerprint, string? authority, string expected) =>
        Assert.That(
            Validate(
                new ForgeBackendOptions { Url = new Uri(url), CertificateFingerprint = fingerprint, CertificateAuthority = authority }),
            Is.EqualTo(expected));

    [Test]
    public void Validate_NamesTheFile_WhenItCannotBeRead()
    {
        var result = Validate(new ForgeBackendOptions { Url = new Uri("https://gpu1"), CertificateAuthority = "/nowhere/ca.pem" });

        Assert.That(
            result, Does.StartWith("Forge:Backends:0:CertificateAuthority: /nowhere/ca.pem cannot be read as PEM: ").And.EndWith("."));
    }

    private static string Validate(params ForgeBackendOptions[] backends) => string.Join(
        ' ', new ForgeOptionsValidator().Validate(null, new ForgeOptions { Backends = backends }).Failures ?? []);
}
