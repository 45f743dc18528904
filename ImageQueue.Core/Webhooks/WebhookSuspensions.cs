namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Receivers that answered 410 Gone: they get no deliveries until an operator resumes them. Kept in the database beside the pauses.
/// </summary>
public sealed class WebhookSuspensions(IOperatorStore store, ILogger<WebhookSuspensions> logger)
{
    private const string Prefix = "webhook:";

    /// <summary>The suspended receivers, each with the time of its suspension.</summary>
    public async Task<IReadOnlyDictionary<string, DateTimeOffset>> ListAsync(CancellationToken cancellationToken) =>
        (await store.ListPausesAsync(cancellationToken)).Where(pause => pause.Name.StartsWith(Prefix, StringComparison.Ordinal))
            .ToDictionary(pause => pause.Name[Prefix.Length..], pause => pause.At, StringComparer.Ordinal);

    /// <summary>Delivers to the receiver again: events from now on.</summary>
    /// <returns>False when it was not suspended.</returns>
    public async Task<bool> ResumeAsync(string receiver, CancellationToken cancellationToken)
    {
        if (!await store.ResumeAsync(Prefix + receiver, cancellationToken))
            return false;
        logger.LogInformation("Webhook receiver {Receiver} is resumed.", receiver);
        return true;
    }

    internal async Task SuspendAsync(string receiver, CancellationToken cancellationToken)
    {
        if (await store.PauseAsync(Prefix + receiver, "410 Gone", cancellationToken))
            logger.LogError("Webhook receiver {Receiver} answered 410 Gone; it gets no deliveries until an operator resumes it.", receiver);
    }
}
