using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// Copies the write-ahead log into the database file beside the writer. By itself SQLite does so within a commit, whenever the log has
/// 1,000 pages: some eighty waiting writes then take milliseconds longer.
/// </summary>
/// <remarks>
/// A passive checkpoint (https://sqlite.org/c3ref/wal_checkpoint_v2.html) blocks no one. Under continuous writes it never reaches the end
/// of the log, where the log restarts: so SQLite's own checkpoint stays, for a log of <see cref="MaxPages"/>, and finds little to copy.
/// </remarks>
internal sealed class SqliteCheckpoints(Func<SqliteConnection> open, TimeProvider time) : IDisposable
{
    /// <summary>The log's length, in pages of 4 KiB, at which a commit does the checkpoint itself.</summary>
    private const int MaxPages = 8192;

    /// <summary>A submit's two commits write some fifteen pages.</summary>
    internal const int CommitsBetween = 300;

    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly Lock _truncating = new();
    private readonly CancellationTokenSource _stop = new();
    private SqliteConnection? _connection;
    private Task _truncated = Task.CompletedTask;
    private bool _isTruncationWanted;
    private int _commits;
    private bool _isDisposed;

    /// <summary>Ends when the log is empty after the newest call of <see cref="Truncate"/>.</summary>
    public Task Truncated => Volatile.Read(ref _truncated);

    /// <summary>A connection whose commits leave the log to this.</summary>
    public SqliteConnection OpenWriter()
    {
        var connection = open();
        connection.Execute($"PRAGMA wal_autocheckpoint = {MaxPages}");
        return connection;
    }

    /// <summary>Counts a commit. Only the writer calls it.</summary>
    public void Committed()
    {
        if (++_commits < CommitsBetween)
            return;
        _commits = 0;
        ThreadPool.UnsafeQueueUserWorkItem(static checkpoints => checkpoints.Run(), this, preferLocal: false);
    }

    /// <summary>
    /// Empties the log in the background, so that it no longer holds what was erased: tries again while a reader needs the log, and
    /// never waits with the writer's lock in hand. A crash before that leaves the log to the next start, which calls this too.
    /// </summary>
    public void Truncate()
    {
        lock (_truncating)
        {
            _isTruncationWanted = true;
            if (_truncated.IsCompleted && !_stop.IsCancellationRequested)
                _truncated = RunTruncation(_stop.Token);
        }
    }

    public void Dispose()
    {
        lock (_truncating)
        {
            _stop.Cancel();
            _stop.Dispose();
        }

        lock (_lock)
        {
            _isDisposed = true;
            Close();
        }
    }

    private Task RunTruncation(CancellationToken stop) => Task.Run(() => TruncateAsync(stop), CancellationToken.None);

    private async Task TruncateAsync(CancellationToken stop)
    {
        for (var pause = ShortestPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            lock (_truncating)
                _isTruncationWanted = false; // An erase from here on is not sure to be in this round.
            var isEmpty = TryTruncate();
            lock (_truncating)
            {
                if (stop.IsCancellationRequested || (isEmpty && !_isTruncationWanted))
                {
                    _truncated = Task.CompletedTask;
                    return;
                }
            }

            await Task.Delay(isEmpty ? ShortestPause : pause, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <returns>False when a reader or the writer was in the way.</returns>
    private bool TryTruncate()
    {
        lock (_lock)
        {
            if (_isDisposed)
                return false; // The last connection to close empties the log.
            try
            {
                // The passive one copies without the writer's lock, so that the other holds it for what came since alone.
                var connection = Connection();
                connection.Execute("PRAGMA wal_checkpoint(PASSIVE)");
                return connection.QuerySingle<(long IsBusy, long Pages, long Copied)>("PRAGMA wal_checkpoint(TRUNCATE)").IsBusy == 0;
            }
            catch (SqliteException)
            {
                Close(); // As in Run.
                return false;
            }
        }
    }

    private void Run()
    {
        if (!_lock.TryEnter())
            return; // Another checkpoint is under way.
        try
        {
            if (!_isDisposed)
                Connection().Execute("PRAGMA wal_checkpoint(PASSIVE)");
        }
        catch (SqliteException)
        {
            // Nothing is lost: the log keeps what it has, and the writer, which needs the same file and disk, reports the fault.
            Close();
        }
        finally
        {
            _lock.Exit();
        }
    }

    private SqliteConnection Connection()
    {
        if (_connection is null)
        {
            _connection = open();
            _connection.Execute("PRAGMA busy_timeout = 0");
        }

        return _connection;
    }

    private void Close()
    {
        _connection?.Dispose();
        _connection = null;
    }
}
