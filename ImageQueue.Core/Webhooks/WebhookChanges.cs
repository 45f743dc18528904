namespace ImageQueue.Core.Webhooks;

/// <summary>The row changes for webhooks: in order and, like the feed's, out of order past a transaction that stays open.</summary>
internal sealed class WebhookChanges(IFeedStore store, OpenTransactionReport report, TimeProvider time)
{
    private const int PageSize = 200;

    /// <summary>Most rows that are read past an open transaction, the newest of them.</summary>
    private const int MaxAhead = 5000;

    private readonly OpenTransactionGap _gap = new();

    internal Task<long> LatestRevisionAsync(CancellationToken cancellationToken) => store.LatestRevisionAsync(cancellationToken);

    /// <summary>The next page in order.</summary>
    /// <returns>The changes, the last row's revision (null: no rows), and whether the page was full.</returns>
    internal async Task<(IReadOnlyList<MessageChange> Changes, long? End, bool IsFull)> ReadAsync(
        long position, CancellationToken cancellationToken)
    {
        var page = await store.ListChangesAsync(position, PageSize, cancellationToken);
        _gap.Note(page.HeldBackAt, time);
        report.Note(this, _gap.IsLong ? _gap.At : null);
        return page.Rows.Count == 0
            ? ([], null, false)
            : (await ReadAsync(page.Rows, page.Rows[^1].Revision, cancellationToken), page.Rows[^1].Revision, page.Rows.Count == PageSize);
    }

    /// <summary>The changes past an open transaction that were not returned before; the order brings them once more.</summary>
    internal async Task<IReadOnlyList<MessageChange>> ReadAheadAsync(CancellationToken cancellationToken)
    {
        if (_gap is not { IsLong: true, At: { } from })
            return [];
        var rows = (await store.ListAheadAsync(from, MaxAhead, cancellationToken)).Where(row => !_gap.Knows(row));
        var changes = new List<MessageChange>();
        foreach (var page in rows.Chunk(PageSize))
            changes.AddRange(await ReadAsync(page, long.MaxValue, cancellationToken));
        return changes;
    }

    /// <summary>The change has become deliveries.</summary>
    internal void Dispatched(MessageChange change) => _gap.Add(change);

    // A row written again meanwhile has a later revision by now, and is read there.
    private async Task<IReadOnlyList<MessageChange>> ReadAsync(
        IEnumerable<ChangedRow> rows, long upTo, CancellationToken cancellationToken) =>
    [
        .. (await store.ReadChangesAsync([.. rows.Select(row => row.Id)], cancellationToken))
            .Where(change => change.Message.Revision <= upTo),
    ];
}
