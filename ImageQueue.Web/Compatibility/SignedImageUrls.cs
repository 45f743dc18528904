using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Compatibility;

/// <summary>Absolute addresses of images that need no header: each carries a token for that image alone.</summary>
internal sealed class SignedImageUrls(WatcherTokens tokens, IMessageStore store)
{
    /// <summary>As long as OpenAI's addresses are good for.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    /// <summary>The address of a complete message's image, good for an hour.</summary>
    public async Task<string> OfAsync(HttpRequest request, Message message, CancellationToken cancellationToken)
    {
        var owner = (await store.FindConversationAsync(message.ConversationId, cancellationToken))?.Username ?? "";
        var token = tokens.IssueForImage(message.ConversationId, owner, message.JobId ?? "", Lifetime);
        return $"{request.Scheme}://{request.Host}{request.PathBase}{message.ImageUrl}{QueryString.Create("access_token", token)}";
    }
}
