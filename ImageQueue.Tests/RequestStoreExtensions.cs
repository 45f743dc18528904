namespace ImageQueue.Tests;

internal static class RequestStoreExtensions
{
    /// <summary>Adds one image request.</summary>
    public static async Task<Submitted> SubmitAsync(
        this IRequestStore store, NewImageMessage message, UserLimits limits, CancellationToken cancellationToken) =>
        (await store.SubmitAsync([message], limits, cancellationToken))[0];
}
