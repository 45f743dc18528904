namespace ImageQueue.Core.Messages;

/// <summary>Changed rows, in the order of their revisions.</summary>
public interface IFeedStore
{
    /// <summary>Characters of content and metadata after which <see cref="ChangesSinceAsync"/> ends its page: 64 KiB in memory.</summary>
    const int PageCharacters = 32 * 1024;

    /// <summary>
    /// Messages written after <paramref name="revision"/>, in revision order, each in its newest state: up to the one that reaches
    /// <see cref="PageCharacters"/>.
    /// </summary>
    /// <param name="revision">The last revision that the caller has.</param>
    /// <param name="conversationId">Null: of all conversations.</param>
    /// <param name="limit">Most of them.</param>
    Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(
        long revision, string? conversationId, int limit, CancellationToken cancellationToken);

    /// <summary>Which rows were written after <paramref name="revision"/>, without the messages themselves.</summary>
    Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// The cheapest question there is: the mark differs from the one before when any process may have written rows since. An equal mark
    /// proves nothing on a database where a transaction stays open.
    /// </summary>
    Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken);

    /// <summary>
    /// The newest of the rows from <see cref="ChangedRows.HeldBackAt"/> on: committed, but earlier rows may still appear between them.
    /// </summary>
    Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken);

    /// <summary>The messages with their owners, in revision order.</summary>
    Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken);

    /// <summary>The newest revision that <see cref="ChangesSinceAsync"/> would return; 0 when no row was ever written.</summary>
    Task<long> LatestRevisionAsync(CancellationToken cancellationToken);
}

/// <summary>A row and the revision of its last write.</summary>
public readonly record struct ChangedRow(long Id, string ConversationId, long Revision);

/// <summary>A database's counters of its own writes, to be compared with an earlier reading.</summary>
/// <param name="Written">Changes with a write.</param>
/// <param name="Ended">Changes with a transaction's end, where writes become visible later than they are counted.</param>
public readonly record struct ChangeMark(long Written, long Ended);

/// <summary>The rows written after a revision.</summary>
/// <param name="Rows">In revision order; no row of a lower revision than the last can appear any more.</param>
/// <param name="HeldBackAt">
/// The revision of the oldest open transaction: rows from there on exist, and rows may still appear between them. Null: that is all.
/// </param>
public sealed record ChangedRows(IReadOnlyList<ChangedRow> Rows, long? HeldBackAt);

/// <summary>A written row. All watchers get the same object.</summary>
public sealed record MessageChange(Message Message)
{
    /// <inheritdoc cref="Message.Username"/>
    public string Username => Message.Username;

    /// <summary>Characters that it holds in memory.</summary>
    public int Size => Message.Content.Length + Message.ExtraMetadata.Length;

    /// <summary>
    /// Where a client that has received this resumes: its own revision, or, for a change delivered ahead of an open-transaction gap, the
    /// revision before the gap. A client that gives it back misses nothing.
    /// </summary>
    public long ResumeFrom { get; init; } = Message.Revision;
}
