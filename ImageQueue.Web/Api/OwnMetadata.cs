namespace ImageQueue.Web.Api;

/// <summary>The chat app's own keys in an image's metadata.</summary>
internal static class OwnMetadata
{
    /// <returns>A sentence where the patch has a field of ImageQueue's; else nothing.</returns>
    public static IReadOnlyDictionary<string, string[]> Check(MetadataPatch? patch)
    {
        var errors = new Dictionary<string, string[]>(StringComparer.Ordinal);
        if (patch?.Root.EnumerateObject().Select(member => member.Name).FirstOrDefault(MetadataFields.All.Contains) is { } reserved)
        {
            errors["extra_metadata"] = [
                $"{reserved} of an image message is written by ImageQueue alone. Use another key, or the cancel and retry calls."];
        }

        return errors;
    }
}
