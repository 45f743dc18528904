using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>
/// Servers whose certificates are private: an authority or a fingerprint for each, and what is said when it does not fit.
/// </summary>
[TestFixture]
[CancelAfter(20_000)]
[Category(Categories.App)]
public sealed class ForgeTlsTests
{
    private readonly TemporaryFolder _folder = new();
    private X509Certificate2 _authority = null!;
    private X509Certificate2 _certificate = null!;
    private ServiceProvider _services = null!;
    private IForgeClient _client = null!;

    [OneTimeSetUp]
    public void MakeCertificates()
    {
        _authority = MakeAuthority("Our authority");
        _certificate = Issue(_authority, "localhost", TimeProvider.System.GetUtcNow().AddDays(1));
        File.WriteAllText(PathOf("ours.pem"), _authority.ExportCertificatePem());
        using var another = MakeAuthority("Another authority");
        File.WriteAllText(PathOf("another.pem"), another.ExportCertificatePem());
    }

    [OneTimeTearDown]
    public void Remove()
    {
        _authority.Dispose();
        _certificate.Dispose();
        _folder.Dispose();
    }

    [SetUp]
    public void SetUp()
    {
        _services = new ServiceCollection().AddLogging().AddForgeClient().BuildServiceProvider();
        _client = _services.GetRequiredService<IForgeClient>();
    }

    [TearDown]
    public async Task TearDown() => await _services.DisposeAsync();

    [TestCase(false, false)]
    [TestCase(true, false)]
    [TestCase(true, true)]
    public async Task Server_IsTrusted_WhenItsAuthorityOrFingerprintIsGiven(bool byFingerprint, bool withColons)
    {
        await using var server = await StartAsync(_certificate);
        var fingerprint = _certificate.GetCertHashString(HashAlgorithmName.SHA256);
        if (withColons)
            fingerprint = string.Join(':', fingerprint.Chunk(2).Select(pair => new string(pair)));
        var backend = byFingerprint
            ? server.Backend with { CertificateFingerprint = fingerprint }
            : server.Backend with { CertificateAuthority = PathOf("ours.pem") };

        Assert.That(await _client.WhyUnhealthyAsync(backend, default), Is.Null);
    }

    [Test]
    public async Task Failure_NamesTheSigner_WhenItIsNotTrusted([Values] bool anotherAuthority)
    {
        await using var server = await StartAsync(_certificate);
        var backend = anotherAuthority ? server.Backend with { CertificateAuthority = PathOf("another.pem") } : server.Backend;

        Assert.That(
            await WhyAsync(backend),
            Is.EqualTo(
                "gpu1 could not be reached: TLS: its certificate is signed by Our authority, which is not trusted "
                    + "(Forge:Backends:n:CertificateAuthority or CertificateFingerprint)"));
    }

    [Test]
    public async Task Failure_SaysWhichCertificateIsShown_WhenAnotherIsPinned()
    {
        await using var server = await StartAsync(_certificate);
        var backend = server.Backend with { CertificateFingerprint = new string('a', 64) };

        Assert.That(
            await WhyAsync(backend),
            Is.EqualTo(
                $"gpu1 could not be reached: TLS: its certificate's SHA-256 is "
                    + $"{_certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant()}, and not that in "
                        + $"Forge:Backends:n:CertificateFingerprint"));
    }

    [Test]
    public async Task Failure_NamesTheHostOfTheCertificate_WhenItIsAnother()
    {
        using var certificate = Issue(_authority, "gpu7.example", TimeProvider.System.GetUtcNow().AddDays(1));
        await using var server = await StartAsync(certificate);

        Assert.That(
            await WhyAsync(server.Backend with { CertificateAuthority = PathOf("ours.pem") }),
            Is.EqualTo("gpu1 could not be reached: TLS: its certificate is for gpu7.example, and not for this host"));
    }

    [Test]
    public async Task Failure_SaysWhen_WhenItHasExpired()
    {
        using var certificate = Issue(_authority, "localhost", TimeProvider.System.GetUtcNow().AddDays(-1));
        await using var server = await StartAsync(certificate);

        Assert.That(
            await WhyAsync(server.Backend with { CertificateAuthority = PathOf("ours.pem") }),
            Does.Match("TLS: its certificate is valid from [0-9-]+ to [0-9-]+ only$"));
    }

    [Test]
    public async Task Failure_AsksForTheScheme_WhenTheServerSpeaksPlainHttp()
    {
        await using var server = await StartAsync(null);

        var why = await WhyAsync(server.Backend with { Url = new UriBuilder(server.Backend.Url) { Scheme = "https" }.Uri });

        Assert.That(why, Does.StartWith("gpu1 could not be reached: TLS: ").And.EndWith("Does it speak https at this port?"));
    }

    private static async Task<StubServer> StartAsync(X509Certificate2? certificate)
    {
        var server = await StubServer.StartAsync(certificate);
        server["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"}]""");
        return server;
    }

    private async Task<string?> WhyAsync(ForgeBackend backend)
    {
        var why = await _client.WhyUnhealthyAsync(backend, default);
        Assert.That(why, Is.Not.Null);
        return why;
    }

    private string PathOf(string file) => Path.Combine(_folder.Path, file);

    private static X509Certificate2 MakeAuthority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        return request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-10), TimeProvider.System.GetUtcNow().AddDays(10));
    }

    private static X509Certificate2 Issue(X509Certificate2 authority, string host, DateTimeOffset until)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={host}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(host);
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(authority, TimeProvider.System.GetUtcNow().AddDays(-5), until, Guid.NewGuid().ToByteArray());
        using var whole = certificate.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(whole.Export(X509ContentType.Pkcs12), null);
    }
}
