using System.Net.Sockets;
using System.Security.Authentication;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>Separates server and settings faults, which get a sentence for the operator, from mistakes in a statement.</summary>
/// <remarks>Source: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors.</remarks>
internal static class SqlServerErrors
{
    /// <summary>The database does not exist, or the login may not enter it.</summary>
    public const int CannotOpenDatabase = 4060;

    /// <summary>
    /// The statement was rolled back for a deadlock, a lock, an update conflict or a duplicate key, and may be sent again.
    /// </summary>
    /// <remarks>1801 and 1807: two processes create the database at once; the second finds it at its next try.</remarks>
    public static readonly IReadOnlyList<int> SafeToRepeat = [1205, 1222, 3960, 2601, 2627, 1801, 1807, LockDeadlock];

    /// <summary>The server is moving or too busy for another connection. Nothing was sent yet, so opening may be repeated.</summary>
    public static readonly IReadOnlyList<int> SafeToReopen = [4221, 10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920, 42108, 42109];

    /// <summary>The exception, or one with a sentence for the operator where the server or a setting is at fault.</summary>
    public static Exception Translate(Exception e) => Find<SqlException>(e) is { } sql && Describe(sql) is { } what
        ? new StoreUnavailableException($"The message database {what}.", sql)
        : e;

    private static string? Describe(SqlException e) => e.Number switch
    {
        18470 =>
            "refuses the login: it is disabled; enable it (ALTER LOGIN ... ENABLE) or name another in ConnectionStrings:ImageQueue",
        40615 or 40914 =>
            "refuses this machine's address: add a firewall or virtual network rule for it to the Azure SQL server",
        18456 or 18452 or 18486 or 18487 or 18488 or 4064 => "refuses the login: check user and password in ConnectionStrings:ImageQueue",
        CannotOpenDatabase or 916 =>
            "does not exist or is closed to this login: check Database in ConnectionStrings:ImageQueue and the login's user",
        229 or 230 or 262 or 300 or 2760 =>
            "refuses the right to do this: put the login's user into the role imagequeue_app; to change the schema, "
            + "run \"schema apply\" as the database's owner and set Storage:ApplySchema to false",
        208 when e.Message.Contains("OPENJSON", StringComparison.OrdinalIgnoreCase) =>
            $"is at a compatibility level that lacks OPENJSON: {RaiseCompatibility}",
        207 or 208 => $"lacks what this release needs ({e.Message.TrimEnd('.')}): run \"schema check\" to see which script to run",
        -2 or 258 => "did not answer in time",
        1205 or 1222 or 3960 or LockDeadlock => "is busy with others' writes to the same rows",
        UserLockTimeout => "is busy with this user's other requests",
        SchemaLockTimeout => "is having its schema changed by another process for too long: see what that process does, then try again",
        1801 or 1807 => "is being created by another process: try again in a moment",
        3906 or 3908 or 978 or 979 or 982 or 983 => "cannot be written: it is read-only or a secondary replica",
        1101 or 1105 or 9002 => "cannot grow: its disk, file or log is full",
        701 or 802 or 1204 or 8645 or 8651 or 10928 or 10929 or 40501 or 49918 or 49919 or 49920 => "has no resources left for this",
        823 or 824 or 825 => "cannot be read or written: its disk reports an error",
        922 or 924 or 927 or 942 or 945 or 952 or 6002 or 6005 or 17142 or 40197 or 40613 or 42108 or 42109 =>
            "is starting, stopping or being moved",
        _ when Find<AuthenticationException>(e) is not null =>
            "shows a certificate that this machine does not trust: install its authority, "
            + "or add TrustServerCertificate=True to ConnectionStrings:ImageQueue if you know the server",
        // Severity 20 and above ends the connection; a client that never reached a server reports numbers of its operating system.
        _ when e.Class >= 20
            || Find<SocketException>(e) is not null
            || e.Number is 0 or -1 or 2 or 20 or 26 or 40 or 53 or 64 or 121 or 233 =>
            "cannot be reached: check that SQL Server runs and that ConnectionStrings:ImageQueue names it",
        _ => null,
    };

    /// <summary>Raised by the store's own statement when a user's lock is not free in time.</summary>
    public const int UserLockTimeout = 51222;

    /// <summary>Raised by the installer's own statement when the schema's lock is not free in time.</summary>
    public const int SchemaLockTimeout = 51223;

    /// <summary>Raised by the product's own statements when sp_getapplock was chosen as a deadlock's victim (-3).</summary>
    public const int LockDeadlock = 51224;

    /// <summary>For a database restored from SQL Server 2014.</summary>
    public const string RaiseCompatibility = "run ALTER DATABASE CURRENT SET COMPATIBILITY_LEVEL = 140 in it, as its owner";

    private static T? Find<T>(Exception? e)
        where T : Exception => e switch
        {
            T found => found,
            // A retry that has given up wraps all its errors; the last one is the current one.
            AggregateException many => Find<T>(many.InnerExceptions[^1]),
            null => null,
            _ => Find<T>(e.InnerException),
        };
}
