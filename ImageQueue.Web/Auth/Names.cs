using System.Text;

namespace ImageQueue.Web.Auth;

/// <summary>Usernames and conversation ids as they are compared: in NFC, so that ş in one or two characters is one name.</summary>
internal static class Names
{
    public static string Normalize(string? name) => (name ?? "").Normalize(NormalizationForm.FormC);
}
