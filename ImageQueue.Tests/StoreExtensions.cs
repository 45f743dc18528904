namespace ImageQueue.Tests;

internal static class StoreExtensions
{
    /// <summary>Adds one image request.</summary>
    public static async Task<Submitted> SubmitAsync(
        this IRequestStore store, NewImageMessage message, UserLimits limits, CancellationToken cancellationToken) =>
        (await store.SubmitAsync([message], limits, cancellationToken))[0];

    /// <summary>Adds a plain message without a key.</summary>
    public static async Task<Message> AddAsync(
        this IConversationStore store, NewMessage message, CancellationToken cancellationToken) =>
        (await store.AddAsync(message, null, cancellationToken)).Message;
}
