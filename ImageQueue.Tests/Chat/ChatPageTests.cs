using System.Collections;
using System.Resources;
using System.Text.RegularExpressions;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Chat;
using Microsoft.Net.Http.Headers;
using NUnit.Framework;

namespace ImageQueue.Tests.Chat;

/// <summary>The chat page's texts and the language that it picks.</summary>
[Category(Categories.Fast)]
public sealed class ChatPageTests
{
    [TestCase("tr-TR,tr;q=0.9,en-US;q=0.8,en;q=0.7", "tr")]
    [TestCase("TR", "tr")]
    [TestCase("en-GB,en;q=0.9,tr;q=0.8", "en")]
    [TestCase("en;q=0.5,tr;q=0.8", "tr")]
    [TestCase("de-DE,de;q=0.9,tr;q=0.3,en;q=0.2", "tr")]
    [TestCase("de-DE,de;q=0.9", "en")]
    [TestCase("tr;q=0,de", "en")]
    [TestCase("*", "en")]
    [TestCase("trv", "en")]
    public void LanguageFor_IsTurkishOnlyWherePreferred(string accepted, string expected)
    {
        IList<StringWithQualityHeaderValue> languages = StringWithQualityHeaderValue.ParseList([accepted]);

        Assert.That(PageLanguage.For(languages), Is.EqualTo(expected));
    }

    [Test]
    public void LanguageFor_IsEnglish_WhenNothingIsAskedFor() =>
        Assert.That(PageLanguage.For([]), Is.EqualTo("en"));

    [Test]
    public void Texts_HaveTheSameNamesAndPlaceholdersInBothLanguages()
    {
        Dictionary<string, string> turkish = TextsOf(CultureInfo.InvariantCulture);
        Dictionary<string, string> english = TextsOf(CultureInfo.GetCultureInfo("en"));

        Assert.That(english.Keys, Is.EquivalentTo(turkish.Keys));
        foreach ((string key, string text) in turkish)
            Assert.That(Placeholders(english[key]), Is.EquivalentTo(Placeholders(text)), key);
    }

    [Test]
    public void Page_SpeaksItsLanguage_WhateverTheServersCulture()
    {
        using var _ = new CultureScope("fr-FR");

        Assert.That(new ChatPage("tr")["Send"], Is.EqualTo("Gönder"));
        Assert.That(new ChatPage("en")["Send"], Is.EqualTo("Send"));
    }

    [Test]
    public void ForScript_StaysInsideItsElement()
    {
        string json = new ChatPage("tr").ForScript("/</script><script>/");

        Assert.That(json, Does.Not.Contain("<"));
        using JsonDocument parsed = JsonDocument.Parse(json);
        Assert.That(parsed.RootElement.GetProperty("root").GetString(), Is.EqualTo("/</script><script>/"));
        Assert.That(parsed.RootElement.GetProperty("texts").GetProperty("Send").GetString(), Is.EqualTo("Gönder"));
    }

    private static Dictionary<string, string> TextsOf(CultureInfo culture)
    {
        var resources = new ResourceManager("ImageQueue.Web.Chat.ChatTexts", typeof(ChatPage).Assembly);
        ResourceSet? texts = resources.GetResourceSet(culture, createIfNotExists: true, tryParents: false);
        Assert.That(texts, Is.Not.Null, $"no texts for '{culture.Name}'");
        // A resx holds strings.
        return texts!.Cast<DictionaryEntry>().ToDictionary(entry => (string)entry.Key, entry => (string)entry.Value!);
    }

    private static IEnumerable<string> Placeholders(string text) =>
        Regex.Matches(text, @"\{\w+\}").Select(match => match.Value);

    private sealed class CultureScope : IDisposable
    {
        private readonly CultureInfo _before = CultureInfo.CurrentUICulture;

        public CultureScope(string culture) => CultureInfo.CurrentUICulture = CultureInfo.GetCultureInfo(culture);

        public void Dispose() => CultureInfo.CurrentUICulture = _before;
    }
}
