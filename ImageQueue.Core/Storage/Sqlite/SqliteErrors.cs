using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>Separates faults of the file, which get a sentence for the operator, from mistakes in a statement.</summary>
internal static class SqliteErrors
{
    /// <summary>Source: https://sqlite.org/rescode.html.</summary>
    public static Exception Translate(Exception e)
    {
        if (e is not SqliteException sqlite)
            return e;
        var what = sqlite.SqliteErrorCode switch
        {
            raw.SQLITE_BUSY or raw.SQLITE_LOCKED => "is locked by another program",
            raw.SQLITE_READONLY or raw.SQLITE_PERM => "cannot be written: it or its folder is read-only",
            raw.SQLITE_FULL => "cannot grow: the disk is full",
            raw.SQLITE_IOERR => "cannot be read or written: the disk reports an error",
            raw.SQLITE_CANTOPEN => "cannot be opened: check the path and its rights",
            raw.SQLITE_CORRUPT or raw.SQLITE_NOTADB => "is damaged or is no SQLite database: restore it from a backup",
            _ => null,
        };
        return what is null ? e : new StoreUnavailableException($"The message database {what}.", e);
    }
}
