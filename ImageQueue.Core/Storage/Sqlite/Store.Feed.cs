using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(
        long revision, string? conversationId, int limit, CancellationToken cancellationToken) =>
        ReadAsync<IReadOnlyList<MessageChange>>(connection =>
        {
            var rows = connection.Query<Message>(
                $"""
                SELECT {Columns}
                FROM messages
                WHERE {(conversationId is null ? "" : "conversation_id = @conversationId AND ")}revision > @revision
                ORDER BY revision
                LIMIT @limit
                """,
                new { revision, conversationId = conversationId is null ? null : StoredName.Normalize(conversationId), limit },
                buffered: false);
            var page = new List<MessageChange>();
            var size = 0;
            foreach (var row in rows)
            {
                page.Add(new MessageChange(row));
                if ((size += page[^1].Size) >= IFeedStore.PageCharacters)
                    break;
            }

            return page;
        });

    // One writer at a time assigns the revisions and commits them in that order: there is no open-transaction gap.
    public async Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken) => new(
        await ManyAsync<ChangedRow>(
            "SELECT id, conversation_id, revision FROM messages WHERE revision > @revision ORDER BY revision LIMIT @limit",
            new { revision, limit }),
        HeldBackAt: null);

    public Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken)
    {
        lock (_marking)
        {
            try
            {
                // A connection that stays open sees the commits of all others in shared memory, without reading the file.
                _mark ??= Mark(Open());
                return Task.FromResult(new ChangeMark((long)_mark.ExecuteScalar()!, 0)); // It always has a value.
            }
            catch (SqliteException e)
            {
                CloseMark();
                throw SqliteErrors.Translate(e);
            }
        }

        static SqliteCommand Mark(SqliteConnection connection)
        {
            var command = connection.CreateCommand();
            command.CommandText = "PRAGMA data_version";
            return command;
        }
    }

    /// <summary>The caller holds <see cref="_marking"/>.</summary>
    private void CloseMark()
    {
        _mark?.Connection?.Dispose();
        _mark?.Dispose();
        _mark = null;
    }

    public Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<ChangedRow>>([]);

    public Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        ManyAsync<Message, MessageChange>(
            // The unary plus makes the planner seek by id: for the order it would scan all revisions.
            $"SELECT {Columns} FROM messages WHERE id IN (SELECT value FROM json_each(@ids)) ORDER BY +revision",
            new { ids = JsonSerializer.Serialize(ids) },
            message => new(message));

    public Task<long> LatestRevisionAsync(CancellationToken cancellationToken) =>
        ReadAsync(connection => connection.ExecuteScalar<long>("SELECT ifnull(max(revision), 0) FROM messages"));
}
