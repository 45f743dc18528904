using System.Threading.Channels;
using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Messages.Sqlite;

/// <summary>
/// The one writer of this process. Writes that arrive while another commits share the next commit (group commit): each is
/// durable when its task ends, and many writers cost few disk flushes.
/// </summary>
/// <remarks>
/// SQLite has one writer at a time whoever asks; queueing here instead of polling its lock keeps writers in order and awake.
/// Other processes on the same file are waited for by SQLite's own busy handler.
/// </remarks>
internal sealed class SqliteWriter : IAsyncDisposable
{
    /// <summary>Most writes in one commit: bounds how long the first of them waits.</summary>
    private const int MaxBatch = 256;

    private readonly Channel<Write> _writes = Channel.CreateUnbounded<Write>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Func<SqliteConnection> _open;
    private readonly Task _loop;
    private SqliteConnection? _connection;

    public SqliteWriter(Func<SqliteConnection> open)
    {
        _open = open;
        _loop = Task.Run(CommitAsync);
    }

    /// <summary>Runs <paramref name="work"/> in a transaction; it is committed when the task ends, or undone when it throws.</summary>
    /// <exception cref="StoreUnavailableException">The file is locked by somebody else, read-only, or its disk is full.</exception>
    public async Task<T> RunAsync<T>(Func<SqliteConnection, T> work, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        T? result = default;
        var write = new Write(connection => result = work(connection), cancellationToken);
        ObjectDisposedException.ThrowIf(!_writes.Writer.TryWrite(write), this);
        await write.Committed;
        return result!; // Committed means that work ran and set it.
    }

    public async ValueTask DisposeAsync()
    {
        if (_writes.Writer.TryComplete())
            await _loop;
        _connection?.Dispose();
        _connection = null;
    }

    private async Task CommitAsync()
    {
        var batch = new List<Write>(MaxBatch);
        while (await _writes.Reader.WaitToReadAsync())
        {
            batch.Clear();
            while (batch.Count < MaxBatch && _writes.Reader.TryRead(out var write))
                batch.Add(write);

            try
            {
                Commit(_connection ??= _open(), batch);
            }
            catch (Exception e)
            {
                // Nothing of this batch is stored; every caller learns why. A new connection for the next one, since
                // this one may hold a transaction that SQLite has already given up.
                _connection?.Dispose();
                _connection = null;
                foreach (var write in batch)
                    write.Fail(SqliteErrors.Translate(e));
            }
        }
    }

    private static void Commit(SqliteConnection connection, List<Write> batch)
    {
        connection.Execute("BEGIN IMMEDIATE");
        foreach (var write in batch)
        {
            if (!write.CanStart)
                continue;
            connection.Execute("SAVEPOINT write");
            try
            {
                write.Run(connection);
            }
            catch (Exception e) when (!SqliteErrors.EndsTransaction(connection))
            {
                connection.Execute("ROLLBACK TO write");
                write.Fail(SqliteErrors.Translate(e));
            }

            connection.Execute("RELEASE write");
        }

        connection.Execute("COMMIT");
        foreach (var write in batch)
            write.Succeed();
    }

    private sealed class Write(Action<SqliteConnection> work, CancellationToken cancellationToken)
    {
        // Continuations run elsewhere: a caller must not do its own work on the writer's time.
        private readonly TaskCompletionSource _committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Committed => _committed.Task;

        /// <summary>False when the caller gave up while this waited.</summary>
        public bool CanStart => !cancellationToken.IsCancellationRequested || !_committed.TrySetCanceled(cancellationToken);

        public void Run(SqliteConnection connection) => work(connection);

        public void Fail(Exception e) => _committed.TrySetException(e);

        public void Succeed() => _committed.TrySetResult();
    }
}
