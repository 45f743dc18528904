namespace ImageQueue.Core.Requests;

/// <summary>A request for one image; a null setting is left to the model, or to <c>Forge:Defaults</c>.</summary>
public sealed record ImageRequest : GenerationSettings
{
    /// <summary>Longest <c>Idempotency-Key</c>, in characters.</summary>
    public const int MaxIdempotencyKeyLength = 200;

    /// <summary>Most images of one request.</summary>
    public const int MaxCount = 4;

    public ImageRequest()
    {
    }

    /// <param name="settings">Copied.</param>
    public ImageRequest(GenerationSettings settings)
        : base(settings)
    {
    }

    /// <summary>Chosen by the chat app.</summary>
    public required string ConversationId { get; init; }

    /// <summary>The conversation's owner.</summary>
    public required string Username { get; init; }

    public required string Prompt { get; init; }

    /// <summary>The image to start from; null: none.</summary>
    public ImageSource? Source { get; init; }

    /// <summary>How many images with successive seeds, 1..4 unless <see cref="Check"/> is given another limit; null: one.</summary>
    public int? Count { get; init; }

    /// <summary>The chat app's own keys: a JSON object. Null: none.</summary>
    public JsonElement? ExtraMetadata { get; init; }

    /// <summary>The same key and request give the same message.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>Trims the texts and checks the limits.</summary>
    /// <param name="maxCount">Most images of one request.</param>
    /// <returns>The trimmed request, and for each field outside its limits a sentence; empty when there is none.</returns>
    public (ImageRequest Request, IReadOnlyDictionary<string, string[]> Errors) Check(int maxCount = MaxCount)
    {
        var request = this with
        {
            Prompt = Prompt.Trim(),
            Username = Username.Trim(),
            NegativePrompt = string.IsNullOrWhiteSpace(NegativePrompt) ? null : NegativePrompt.Trim(),
            Count = Count == 1 ? null : Count,
        };
        var rules = new RequestRules();
        rules.Name("conversation_id", request.ConversationId);
        rules.Name("username", request.Username);
        var isUpscale = Source?.Upscale is not null;
        if (!isUpscale || request.Prompt.Length > 0)
            rules.Text("prompt", request.Prompt, RequestRules.MaxPromptLength);
        request.Check(rules, JsonNamingPolicy.SnakeCaseLower.ConvertName);
        Source?.Check(rules);
        rules.Range("n", Count, 1, maxCount);
        if (isUpscale && request.Count is not null)
            rules.Add("n", "n must be 1 with source.upscale: all of them would be the same.");
        if (isUpscale && (Width ?? Height) is not null)
            rules.Add(Width is null ? "height" : "width", "width and height come from the source with source.upscale; remove them.");
        if (Seed + (Count ?? 1) - 1 > uint.MaxValue)
            rules.Add("seed", "seed must leave room for n images with successive seeds; send a smaller one.");
        rules.OptionalName("Idempotency-Key", request.IdempotencyKey, MaxIdempotencyKeyLength);
        return (request, rules.Errors);
    }
}
