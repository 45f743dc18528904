namespace ImageQueue.Core.Messages;

/// <summary>Folds text for searches: one form for all cases of a letter, in Turkish and English.</summary>
internal static class SearchText
{
    /// <summary>Turkish has four letters i (i, İ, ı, I), English two: all are i here, so that both find their words.</summary>
    public static string? Fold(string? text) =>
        text?.Normalize(NormalizationForm.FormC).Replace('İ', 'i').Replace('I', 'i').Replace('ı', 'i').ToLowerInvariant();
}
