using System.Resources;

namespace ImageQueue.Web.Auth;

/// <summary>Model of the sign-in page.</summary>
/// <param name="Language">tr or en.</param>
/// <param name="SignedIn">The signed-in operator; null shows the form.</param>
/// <param name="Problem">The name of the text that says why not; null when nothing was tried.</param>
/// <param name="Minutes">How long to wait, where that is the problem.</param>
/// <param name="ReturnTo">The page that was asked for.</param>
public sealed record LoginPage(string Language, string? SignedIn, string? Problem, int Minutes, string? ReturnTo)
{
    private static readonly ResourceManager Resources = new("ImageQueue.Web.Auth.LoginTexts", typeof(LoginPage).Assembly);

    /// <summary>The text with this resource name.</summary>
    public string this[string key] => Resources.GetString(key, CultureInfo.GetCultureInfo(Language))
        ?? throw new MissingManifestResourceException($"LoginTexts has no text named {key}.");

    /// <summary>Why not, as a sentence.</summary>
    public string? ProblemText => Problem is null ? null : string.Format(CultureInfo.GetCultureInfo(Language), this[Problem], Minutes);
}
