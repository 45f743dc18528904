using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Auth;

/// <summary>The languages of the pages.</summary>
internal static class PageLanguage
{
    public const string Turkish = "tr";
    public const string English = "en";

    /// <summary>Turkish where the reader prefers it to English, else English.</summary>
    public static string For(IEnumerable<StringWithQualityHeaderValue> accepted) =>
        accepted
            .Where(language => language.Quality != 0)
            .OrderByDescending(language => language.Quality ?? 1)
            .Select(language => language.Value.Value?.Split('-')[0].ToLowerInvariant())
            .FirstOrDefault(language => language is Turkish or English) ?? English;
}
