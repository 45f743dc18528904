using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Builder;
using NUnit.Framework;

namespace ImageQueue.Tests.Auth;

/// <summary>The real app as in production, with a key of each role, and callers of each kind.</summary>
internal sealed partial class AuthApp : IAsyncDisposable
{
    public const string Conversation = "sohbet";
    public const string Owner = "ayşe";

    private readonly List<HttpClient> _clients = [];
    private readonly Dictionary<string, string> _headers;

    private AuthApp(TestApp app, Dictionary<string, string> headers) => (App, _headers) = (app, headers);

    public TestApp App { get; }

    public static string ClientKey { get; } = ApiKeys.Create(Roles.Client);

    public static string OperatorKey { get; } = ApiKeys.Create(Roles.Operator);

    public static string ReaderKey { get; } = ApiKeys.Create(Roles.OperatorRead);

    /// <summary>What a page of our own would send as Origin.</summary>
    public string Origin =>
        _headers.TryGetValue("X-Forwarded-Host", out var host) ? $"https://{host}" : App.Address.GetLeftPart(UriPartial.Authority);

    /// <param name="settings">Settings that differ.</param>
    /// <param name="headers">Sent with every request, as a proxy would.</param>
    /// <param name="folder">Data of an earlier app.</param>
    /// <param name="environment">Production, unless a test is about Development.</param>
    /// <param name="configure">What else is to be different.</param>
    public static async Task<AuthApp> StartAsync(
        Dictionary<string, string?>? settings = null,
        Dictionary<string, string>? headers = null,
        TemporaryFolder? folder = null,
        string environment = "Production",
        Action<WebApplicationBuilder>? configure = null)
    {
        var all = new Dictionary<string, string?> { ["Forge:Simulator:Enabled"] = "true" };
        foreach (var (i, role, key) in new[]
        {
            (0, Roles.Client, ClientKey),
            (1, Roles.Operator, OperatorKey),
            (2, Roles.OperatorRead, ReaderKey),
        })
        {
            all[$"Auth:ApiKeys:{i}:Name"] = $"the {role}";
            all[$"Auth:ApiKeys:{i}:Role"] = role;
            all[$"Auth:ApiKeys:{i}:KeyHash"] = Convert.ToHexString(ApiKeys.Hash(key));
        }

        foreach (var (key, value) in settings ?? [])
            all[key] = value;
        return new AuthApp(await TestApp.StartAsync(all, folder, environment, configure), headers ?? []);
    }

    /// <summary>A caller with this key or token, or with none. Cookies are kept, redirects are not followed.</summary>
    public HttpClient As(string? bearer)
    {
        var client = new HttpClient(new CookieJar()) { BaseAddress = App.Address };
        foreach (var (name, value) in _headers)
            client.DefaultRequestHeaders.Add(name, value);
        if (bearer is not null)
            client.DefaultRequestHeaders.Authorization = new("Bearer", bearer);
        _clients.Add(client);
        return client;
    }

    public HttpClient Client() => As(ClientKey);

    /// <summary>A token as the chat app's server would get it.</summary>
    public async Task<string> TokenAsync(string conversation = Conversation, string username = Owner)
    {
        using var response = await Client().PostAsJsonAsync($"api/conversations/{conversation}/tokens", new { username });
        Assert.That((int)response.StatusCode, Is.EqualTo(201), await response.Content.ReadAsStringAsync());
        return (string)(await TestApp.ReadAsync(response))["token"]!;
    }

    /// <summary>A small image of the owner's, asked for.</summary>
    public async Task<JsonObject> SubmitAsync(string prompt = "bir gül", string conversation = Conversation, string username = Owner)
    {
        using var response = await Client().PostAsJsonAsync(
            $"api/conversations/{conversation}/images", new { username, prompt, width = 64, height = 64, steps = 4 });
        Assert.That((int)response.StatusCode, Is.EqualTo(202), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    /// <summary>Waits until the message has the status.</summary>
    public async Task<JsonObject> WaitForAsync(long id, string status)
    {
        var message = new JsonObject();
        await Until.TrueAsync(
            async () =>
            {
                message = await TestApp.ReadAsync(await Client().GetAsync($"api/messages/{id}"));
                return (string?)message["extra_metadata"]?["status"] == status;
            },
            $"message {id} is {status}");
        return message;
    }

    /// <summary>An operator who has signed in with the key.</summary>
    public async Task<HttpClient> SignInAsync(string key)
    {
        var browser = Browser();
        using var response = await SignInAsync(browser, key);
        Assert.That((int)response.StatusCode, Is.EqualTo(302), await response.Content.ReadAsStringAsync());
        return browser;
    }

    /// <summary>A browser that says where its requests come from.</summary>
    public HttpClient Browser()
    {
        var browser = As(null);
        browser.DefaultRequestHeaders.Add("Origin", Origin);
        return browser;
    }

    /// <summary>Fills the form in and sends it.</summary>
    public static async Task<HttpResponseMessage> SignInAsync(HttpClient browser, string key, string page = "") =>
        await PostFormAsync(browser, "login", new() { ["key"] = key, ["return"] = page });

    /// <summary>Sends a form with the token that its page has.</summary>
    public static async Task<HttpResponseMessage> PostFormAsync(HttpClient browser, string path, Dictionary<string, string> fields)
    {
        var page = await browser.GetStringAsync("login");
        fields["__RequestVerificationToken"] = FormToken.Match(page).Groups[1].Value;
        return await browser.PostAsync(path, new FormUrlEncodedContent(fields));
    }

    /// <summary>Sends what a click in the dashboard sends.</summary>
    public static async Task<HttpResponseMessage> PostDashboardAsync(HttpClient browser, string path, params string[] jobs)
    {
        var page = await browser.GetStringAsync("hangfire");
        using var request = new HttpRequestMessage(HttpMethod.Post, path)
        {
            Content = new FormUrlEncodedContent(jobs.Select(job => new KeyValuePair<string, string>("jobs[]", job))),
        };
        request.Headers.Add("RequestVerificationToken", DashboardToken.Match(page).Groups[1].Value);
        return await browser.SendAsync(request);
    }

    public static StringContent Json(string body, string type = "application/json") => new(body, Encoding.UTF8, type);

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await App.DisposeAsync();
    }

    /// <summary>Cookies as a browser keeps them that speaks HTTPS with a proxy: marked secure, and sent all the same.</summary>
    private sealed class CookieJar() : DelegatingHandler(new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false })
    {
        private readonly Dictionary<string, string> _cookies = new(StringComparer.Ordinal);

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (_cookies.Count > 0)
                request.Headers.Add("Cookie", string.Join("; ", _cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
            var response = await base.SendAsync(request, cancellationToken);
            foreach (var cookie in response.Headers.TryGetValues("Set-Cookie", out var set) ? set : [])
            {
                var (name, value) = (
                    cookie[..cookie.IndexOf('=', StringComparison.Ordinal)],
                    cookie[(cookie.IndexOf('=', StringComparison.Ordinal) + 1)..].Split(';')[0]);
                if (value.Length == 0)
                    _cookies.Remove(name);
                else
                    _cookies[name] = value;
            }

            return response;
        }
    }

    [GeneratedRegex("name=\"__RequestVerificationToken\" type=\"hidden\" value=\"([^\"]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex FormToken { get; }

    [GeneratedRegex("name=\"csrf-token\" content=\"([^\"]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex DashboardToken { get; }
}
