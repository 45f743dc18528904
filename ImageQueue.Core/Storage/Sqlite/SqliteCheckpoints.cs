using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// Brings what the write-ahead log holds into the file, beside the writer. By itself SQLite does so within a commit, each time the
/// log has 1,000 pages: whoever comes then waits milliseconds for the writes of some eighty others.
/// </summary>
/// <remarks>
/// A passive checkpoint (https://sqlite.org/c3ref/wal_checkpoint_v2.html) waits for nobody and lets nobody wait. Under writes without
/// a pause it never comes to the end of the log, and only at its end is the log begun anew: so SQLite's own way stays, for a log of
/// <see cref="MaxPages"/>, and has little left to bring by then.
/// </remarks>
internal sealed class SqliteCheckpoints(Func<SqliteConnection> open) : IDisposable
{
    /// <summary>The log's length, in pages of 4 KiB, at which a commit waits for a checkpoint after all.</summary>
    private const int MaxPages = 8192;

    /// <summary>A submit's two write some fifteen pages.</summary>
    internal const int CommitsBetween = 300;

    private readonly Lock _lock = new();
    private SqliteConnection? _connection;
    private int _commits;
    private bool _isDisposed;

    /// <summary>A connection whose commits leave the log to this.</summary>
    public SqliteConnection OpenWriter()
    {
        var connection = open();
        connection.Execute($"PRAGMA wal_autocheckpoint = {MaxPages}");
        return connection;
    }

    /// <summary>The writer has committed. It is the only one who calls.</summary>
    public void Committed()
    {
        if (++_commits < CommitsBetween)
            return;
        _commits = 0;
        ThreadPool.UnsafeQueueUserWorkItem(static checkpoints => checkpoints.Run(), this, preferLocal: false);
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            _connection?.Dispose();
            _connection = null;
        }
    }

    private void Run()
    {
        if (!_lock.TryEnter())
            return; // One is under way.
        try
        {
            if (!_isDisposed)
                (_connection ??= open()).Execute("PRAGMA wal_checkpoint(PASSIVE)");
        }
        catch (SqliteException)
        {
            // Nothing is lost by it: the log keeps what it has, and the writer, who needs the same file and disk, says what is wrong with them.
            _connection?.Dispose();
            _connection = null;
        }
        finally
        {
            _lock.Exit();
        }
    }
}
