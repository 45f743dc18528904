namespace ImageQueue.Web.Auth;

/// <summary>The endpoint's answers stay open: they count as streams, and a stop closes them.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class StreamAttribute : Attribute
{
    public static bool IsStream(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<StreamAttribute>() is not null;
}
