using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>HTTPS in Kestrel itself, and what a certificate does for the data-protection keys.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class HttpsTests
{
    private const string Password = "pfx-password";

    private static readonly HttpMessageHandler TrustsOurs = new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        SslOptions =
            new SslClientAuthenticationOptions
            {
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject == "CN=imagequeue-test",
            },
    };

    [OneTimeTearDown]
    public void TearDown() => TrustsOurs.Dispose();

    [Test]
    public async Task Http_LeadsToHttps_WhereTheAnswerSaysToStayThere()
    {
        using var folder = new TemporaryFolder();
        await using var app = await AuthApp.StartAsync(new()
        {
            ["Urls"] = "http://127.0.0.1:0;https://127.0.0.1:0",
            ["Kestrel:Certificates:Default:Path"] = CreateCertificate(folder),
            ["Kestrel:Certificates:Default:Password"] = Password,
        });
        var https = new Uri(
            app.App.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single(
                address => address.StartsWith("https", StringComparison.Ordinal)));

        using (var redirect = await app.As(null).GetAsync("api/queue"))
        {
            Assert.That((int)redirect.StatusCode, Is.EqualTo(307));
            Assert.That(redirect.Headers.Location, Is.EqualTo(new Uri(https, "api/queue")));
        }

        Assert.That((int)(await app.As(null).GetAsync("health/live")).StatusCode, Is.EqualTo(200), "the host asks by plain HTTP");
        using var client = new HttpClient(TrustsOurs, disposeHandler: false) { BaseAddress = https };
        using var request = new HttpRequestMessage(HttpMethod.Get, "login");
        request.Headers.Host = "images.example";
        using var page = await client.SendAsync(request);
        Assert.That(page.Headers.GetValues("Strict-Transport-Security").Single(), Does.StartWith("max-age=31536000"));
        Assert.That(page.Headers.GetValues("Set-Cookie"), Has.All.Contains("secure"));
    }

    [Test]
    public async Task DataProtectionKeys_AreEncrypted_WithACertificate()
    {
        using var folder = new TemporaryFolder();
        string token;
        var settings =
            new Dictionary<string, string?>
            {
                ["Auth:Certificate:Path"] = CreateCertificate(folder),
                ["Auth:Certificate:Password"] = Password,
            };
        await using (var first = await AuthApp.StartAsync(settings, folder: folder))
        {
            await first.SubmitAsync();
            token = await first.TokenAsync();
        }

        var key = File.ReadAllText(Directory.GetFiles(Path.Combine(folder.Path, "keys")).Single());
        Assert.That(key, Does.Contain("EncryptedData").And.Not.Contain("<masterKey"));
        await using var second = await AuthApp.StartAsync(settings, folder: folder);
        Assert.That(
            (int)(await second.As(token).GetAsync($"api/conversations/{AuthApp.Conversation}/messages")).StatusCode,
            Is.EqualTo(200),
            "and read again");
    }

    [Test]
    public void Start_NamesTheSetting_WhenTheCertificateCannotBeOpened() => Assert.That(
        () => AuthApp.StartAsync(new() { ["Auth:Certificate:Path"] = "/nowhere/key.pfx" }),
        Throws.TypeOf<OptionsValidationException>().With.Message.Contains("Auth:Certificate:Path names /nowhere/key.pfx"));

    /// <summary>A caller with a valid token gets 503, not 401.</summary>
    [Test]
    public async Task Token_Is503_WhileTheKeysCannotBeRead()
    {
        string token;
        await using (var other = await AuthApp.StartAsync())
            token = await other.TokenAsync();
        await using var app = await AuthApp.StartAsync(new()
        {
            ["Storage:Provider"] = "SqlServer",
            ["ConnectionStrings:ImageQueue"] =
                "Server=127.0.0.1,1;Database=ImageQueue;User ID=imagequeue;Password=Gizli1!;Encrypt=False;Connect Timeout=1",
        });

        Assert.That((int)(await app.As(token).GetAsync("api/messages/1")).StatusCode, Is.EqualTo(503));
        Assert.That((int)(await app.As(WatcherTokens.Prefix + "nonsense").GetAsync("api/messages/1")).StatusCode, Is.EqualTo(401));
        Assert.That(app.App.Log.ToString(), Does.Not.Contain("Gizli1!"));
    }

    private static string CreateCertificate(TemporaryFolder folder)
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=imagequeue-test", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var now = TimeProvider.System.GetUtcNow();
        using var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        var path = Path.Combine(folder.Path, "test.pfx");
        File.WriteAllBytes(path, certificate.Export(X509ContentType.Pkcs12, Password));
        return path;
    }
}
