namespace ImageQueue.Core.Queue;

/// <summary>Reads the order from Hangfire's tables in one query; where their schema is not known, page by page from its monitoring API.</summary>
internal sealed class SqlServerQueueReader(SqlServerQueueOrder order, PagingQueueReader paging) : IQueueReader
{
    /// <inheritdoc/>
    public bool IsPrivate => false;

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> ReadAsync(CancellationToken cancellationToken) =>
        await order.ReadOrderAsync(cancellationToken) ?? await paging.ReadAsync(cancellationToken);
}
