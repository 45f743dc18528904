namespace ImageQueue.Web.Errors;

/// <summary>How much a request may send.</summary>
internal static class BodyLimit
{
    /// <summary>64 KiB.</summary>
    public const int Bytes = 64 * 1024;

    /// <summary>What who sends more is told.</summary>
    public static string Sentence { get; } = $"The body is larger than {Bytes / 1024} KiB; send less.";
}
