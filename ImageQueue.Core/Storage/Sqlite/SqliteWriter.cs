using System.Collections.Concurrent;
using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// The one writer of this process. Writes that arrive during a commit share the next one (group commit): each is durable when its task
/// ends, unless it need not be, and many writers cost few disk flushes.
/// </summary>
/// <remarks>
/// SQLite has one writer at a time; a queue here instead of polling its lock keeps writers in order. SQLite's busy handler waits for
/// other processes on the same file. There is no thread of its own: a caller that finds no commit under way commits, on its own thread,
/// all writes queued by then.
/// </remarks>
internal sealed class SqliteWriter(Func<SqliteConnection> open, TimeProvider time) : IAsyncDisposable
{
    /// <summary>Most writes in one commit: bounds how long the first of them waits.</summary>
    private const int MaxBatch = 256;

    /// <summary>Pending work items from which more writers are about to arrive; callers one after the other stay below it.</summary>
    private const int BusyThreadPool = 4;

    private readonly ConcurrentQueue<Write> _writes = new();
    private readonly List<Write> _batch = new(MaxBatch);
    private int _isCommitting;
    private volatile bool _isDisposed;
    private SqliteSession? _session;
    private bool _flushes = true;

    public SqliteCheckpoints Checkpoints { get; } = new(open, time);

    /// <summary>Runs <paramref name="work"/> in a transaction; it is committed when the task ends, or undone when it throws.</summary>
    /// <param name="survivesPowerCut">
    /// False for what the next start does again anyway: the commit then waits for no disk flush, unless it is shared with a write that
    /// needs one. A process crash does not lose it, and a power cut loses it only together with all later writes.
    /// </param>
    /// <exception cref="StoreUnavailableException">The file is locked by another program, read-only, or its disk is full.</exception>
    public async Task<T> RunAsync<T>(Func<SqliteSession, T> work, CancellationToken cancellationToken, bool survivesPowerCut = true)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        cancellationToken.ThrowIfCancellationRequested();
        T? result = default;
        var write = new Write(session => result = work(session), survivesPowerCut, cancellationToken);
        _writes.Enqueue(write);
        // Share one commit between waiting writers.
        if (ThreadPool.PendingWorkItemCount >= BusyThreadPool)
            await Task.Yield();
        CommitUnlessUnderWay(isOwnWriteQueued: true);
        await write.Committed;
        return result!; // Committed means that work ran and set it.
    }

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return; // The container disposes one object under each of its service types.
        _isDisposed = true;
        while (!_writes.IsEmpty || Interlocked.CompareExchange(ref _isCommitting, 1, 0) != 0)
            await Task.Delay(1);
        _session?.Dispose();
        _session = null;
        Checkpoints.Dispose();
    }

    private void CommitUnlessUnderWay(bool isOwnWriteQueued)
    {
        while (!_writes.IsEmpty && Interlocked.CompareExchange(ref _isCommitting, 1, 0) == 0)
        {
            try
            {
                CommitBatch();
            }
            finally
            {
                // A full fence: no other caller may find this still set after the check below has found the queue empty.
                Interlocked.Exchange(ref _isCommitting, 0);
            }

            if (isOwnWriteQueued && !_writes.IsEmpty)
            {
                // The caller's own write is committed; later ones are not its work.
                ThreadPool.UnsafeQueueUserWorkItem(
                    static writer => writer.CommitUnlessUnderWay(isOwnWriteQueued: false), this, preferLocal: false);
                return;
            }
        }
    }

    private void CommitBatch()
    {
        _batch.Clear();
        while (_batch.Count < MaxBatch && _writes.TryDequeue(out var write))
        {
            if (write.CanStart)
                _batch.Add(write);
        }

        if (_batch.Count == 0)
            return;
        try
        {
            Commit(_session ??= new SqliteSession(Checkpoints.OpenWriter()));
        }
        catch (Exception e)
        {
            // Nothing of this batch is stored; every caller gets the error. An error of SQLite's needs a new connection, one of ours
            // only a rollback.
            if (e is SqliteException || _session is null || !_session.TryRollBack())
            {
                _session?.Dispose();
                (_session, _flushes) = (null, true);
            }

            foreach (var write in _batch)
                write.Fail(SqliteErrors.Translate(e));
            return;
        }

        foreach (var write in _batch)
            write.Succeed();
        Checkpoints.Committed();
    }

    private void Commit(SqliteSession session)
    {
        var flushes = _batch.Exists(write => write.SurvivesPowerCut);
        if (flushes != _flushes)
        {
            // Not prepared: it acts when it is compiled.
            session.Connection.Execute(flushes ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
        }

        _flushes = flushes;
        session.Execute("BEGIN IMMEDIATE");
        foreach (var write in _batch)
        {
            // A single write is rolled back with the transaction.
            if (_batch.Count == 1)
                write.Run(session);
            else
                RunUndoably(session, write);
        }

        session.Execute("COMMIT");
    }

    private static void RunUndoably(SqliteSession session, Write write)
    {
        session.Execute("SAVEPOINT write");
        try
        {
            write.Run(session);
        }
        catch (Exception e) when (session.IsInTransaction)
        {
            session.Execute("ROLLBACK TO write");
            write.Fail(SqliteErrors.Translate(e));
        }

        session.Execute("RELEASE write");
    }

    private sealed class Write(Action<SqliteSession> work, bool survivesPowerCut, CancellationToken cancellationToken)
    {
        // A caller's continuation must not run on the committing thread.
        private readonly TaskCompletionSource _committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Committed => _committed.Task;

        public bool SurvivesPowerCut => survivesPowerCut;

        /// <summary>False when the caller cancelled while this waited.</summary>
        public bool CanStart => !cancellationToken.IsCancellationRequested || !_committed.TrySetCanceled(cancellationToken);

        public void Run(SqliteSession session) => work(session);

        public void Fail(Exception e) => _committed.TrySetException(e);

        public void Succeed() => _committed.TrySetResult();
    }
}
