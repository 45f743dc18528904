using System.Net;

namespace ImageQueue.Web.Auth;

/// <summary>Validates <see cref="AuthOptions"/>; its sentences never repeat a key.</summary>
internal sealed class AuthOptionsValidator(IHostEnvironment environment) : IValidateOptions<AuthOptions>
{
    /// <summary>A shorter one could be guessed.</summary>
    public const int ShortestKey = 16;

    private const string NewKey = "\"dotnet run --project ImageQueue.Web -- key new --role client\"";

    public ValidateOptionsResult Validate(string? name, AuthOptions options)
    {
        List<string> failures = [.. options.ApiKeys.SelectMany(Check), .. Doubles(options.ApiKeys)];
        if (options.ApiKeys.Count == 0 && !environment.IsDevelopment())
        {
            failures.Add(
                $"Auth:ApiKeys holds no key, so every request would be refused. {NewKey} makes one and prints the settings for it; "
                    + "only Development does without.");
        }

        foreach (var proxy in options.Proxies.Where(proxy => !IPAddress.TryParse(proxy, out _) && !IPNetwork.TryParse(proxy, out _)))
            failures.Add($"Auth:Proxies holds {proxy}; write an address such as 10.0.0.5 or a network such as 10.0.0.0/8.");
        foreach (var origin in options.AllowedOrigins.Where(origin => !IsOrigin(origin)))
            failures.Add($"Auth:AllowedOrigins holds {origin}; write scheme and host only, such as https://chat.example.org.");
        return failures.Count > 0 ? ValidateOptionsResult.Fail(failures) : ValidateOptionsResult.Success;
    }

    private static IEnumerable<string> Check(ApiKeyOptions key, int index)
    {
        var setting = string.Create(CultureInfo.InvariantCulture, $"Auth:ApiKeys:{index}");
        if (string.IsNullOrWhiteSpace(key.Name) || key.Name.Any(char.IsControl))
            yield return $"{setting}:Name must say whose key it is.";
        if (!Roles.OfKeys.Contains(key.Role))
            yield return $"{setting}:Role must be {string.Join(", ", Roles.OfKeys.SkipLast(1))} or {Roles.OfKeys[^1]}, not \"{key.Role}\".";
        if (string.IsNullOrEmpty(key.Key) == string.IsNullOrEmpty(key.KeyHash))
        {
            yield return $"{setting} needs either KeyHash or Key. {NewKey} makes both.";
        }
        else if (!string.IsNullOrEmpty(key.KeyHash) && ApiKeys.ParseHash(key.KeyHash) is null)
        {
            yield return $"{setting}:KeyHash must be the key's SHA-256 in 64 hex digits.";
        }
        else if (key.Key is { Length: > 0 and < ShortestKey })
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"{setting}:Key must have at least {ShortestKey} characters.");
        }
        else if (key.Key?.StartsWith(WatcherTokens.Prefix, StringComparison.Ordinal) == true
            || key.Key?.Any(c => c is <= ' ' or > '~') == true)
        {
            yield return $"{setting}:Key must be plain ASCII without blanks, and not begin with {WatcherTokens.Prefix}.";
        }
    }

    private static IEnumerable<string> Doubles(IEnumerable<ApiKeyOptions> keys) => keys
        .Where(key => string.IsNullOrEmpty(key.Key) != string.IsNullOrEmpty(key.KeyHash))
        .GroupBy(key => Convert.ToHexString(ApiKeys.HashOf(key)))
        .Where(same => same.Count() > 1)
        .Select(same => $"Auth:ApiKeys has one key for {string.Join(" and ", same.Select(key => key.Name))}; each needs its own.");

    private static bool IsOrigin(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
        && string.Equals(uri.GetLeftPart(UriPartial.Authority), text, StringComparison.OrdinalIgnoreCase);
}
