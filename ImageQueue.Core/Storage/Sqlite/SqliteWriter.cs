using System.Collections.Concurrent;
using Dapper;
using ImageQueue.Core.Messages;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// The one writer of this process. Writes that arrive while another commits share the next commit (group commit): each is
/// durable when its task ends, unless it says that it need not be, and many writers cost few disk flushes.
/// </summary>
/// <remarks>
/// SQLite has one writer at a time whoever asks; queueing here instead of polling its lock keeps writers in order and awake.
/// Other processes on the same file are waited for by SQLite's own busy handler. There is no thread of its own: whoever finds
/// nobody committing commits, on its own thread, what is there by then.
/// </remarks>
internal sealed class SqliteWriter(Func<SqliteConnection> open, TimeProvider time) : IAsyncDisposable
{
    /// <summary>Most writes in one commit: bounds how long the first of them waits.</summary>
    private const int MaxBatch = 256;

    /// <summary>So much work that waits for a thread is a crowd: at one caller after the other it is less.</summary>
    private const int Crowd = 4;

    private readonly ConcurrentQueue<Write> _writes = new();
    private readonly List<Write> _batch = new(MaxBatch);
    private int _isCommitting;
    private volatile bool _isDisposed;
    private SqliteSession? _session;
    private bool _flushes = true;

    public SqliteCheckpoints Checkpoints { get; } = new(open, time);

    /// <summary>Runs <paramref name="work"/> in a transaction; it is committed when the task ends, or undone when it throws.</summary>
    /// <param name="work">What to write.</param>
    /// <param name="cancellationToken">Gives up waiting for its turn.</param>
    /// <param name="survivesPowerCut">
    /// False for what the next start does anew anyway: no disk flush is waited for then, unless the commit is shared with one that
    /// needs it. The end of the process loses it no more than any other write, and no power cut loses it without all that came after it.
    /// </param>
    /// <exception cref="StoreUnavailableException">The file is locked by somebody else, read-only, or its disk is full.</exception>
    public async Task<T> RunAsync<T>(Func<SqliteSession, T> work, CancellationToken cancellationToken, bool survivesPowerCut = true)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        cancellationToken.ThrowIfCancellationRequested();
        T? result = default;
        var write = new Write(session => result = work(session), survivesPowerCut, cancellationToken);
        _writes.Enqueue(write);
        // In a crowd that waits for threads others are about to write, too: they would commit one after the other, each alone.
        if (ThreadPool.PendingWorkItemCount >= Crowd)
            await Task.Yield();
        CommitUnlessSomebodyDoes(ownWriteIsIn: true);
        await write.Committed;
        return result!; // Committed means that work ran and set it.
    }

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return; // The container disposes of one object under each of its names.
        _isDisposed = true;
        while (!_writes.IsEmpty || Interlocked.CompareExchange(ref _isCommitting, 1, 0) != 0)
            await Task.Delay(1);
        _session?.Dispose();
        _session = null;
        Checkpoints.Dispose();
    }

    private void CommitUnlessSomebodyDoes(bool ownWriteIsIn)
    {
        while (!_writes.IsEmpty && Interlocked.CompareExchange(ref _isCommitting, 1, 0) == 0)
        {
            try
            {
                CommitBatch();
            }
            finally
            {
                // A full fence: nobody may find this still set after the look at the queue below has found it empty.
                Interlocked.Exchange(ref _isCommitting, 0);
            }

            if (ownWriteIsIn && !_writes.IsEmpty)
            {
                // The caller's own write is done; it does not work for those who came after it.
                ThreadPool.UnsafeQueueUserWorkItem(
                    static writer => writer.CommitUnlessSomebodyDoes(ownWriteIsIn: false), this, preferLocal: false);
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
            // Nothing of this batch is stored; every caller learns why. What SQLite says of its file calls for a new
            // connection; a refusal of our own only for the end of the transaction.
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
            // Not prepared: it acts when it is compiled.
            session.Connection.Execute(flushes ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
        _flushes = flushes;
        session.Execute("BEGIN IMMEDIATE");
        foreach (var write in _batch)
        {
            // One write alone is undone with the whole transaction.
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
        // Continuations run elsewhere: a caller must not do its own work on the writer's time.
        private readonly TaskCompletionSource _committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Committed => _committed.Task;

        public bool SurvivesPowerCut => survivesPowerCut;

        /// <summary>False when the caller gave up while this waited.</summary>
        public bool CanStart => !cancellationToken.IsCancellationRequested || !_committed.TrySetCanceled(cancellationToken);

        public void Run(SqliteSession session) => work(session);

        public void Fail(Exception e) => _committed.TrySetException(e);

        public void Succeed() => _committed.TrySetResult();
    }
}
