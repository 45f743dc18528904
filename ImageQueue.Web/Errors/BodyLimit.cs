namespace ImageQueue.Web.Errors;

/// <summary>How much a request may send.</summary>
internal static class BodyLimit
{
    public const int Bytes = 64 * 1024;

    public static string Sentence { get; } = $"The body is larger than {Bytes / 1024} KiB; send less.";
}
