namespace ImageQueue.Web.Errors;

/// <summary>How much a request may send.</summary>
internal static class BodyLimit
{
    /// <summary>64 KiB.</summary>
    public const int Bytes = 64 * 1024;
}
