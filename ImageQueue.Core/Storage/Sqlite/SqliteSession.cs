using System.Data.Common;
using System.Diagnostics;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>
/// A connection that keeps its statements prepared: compiling an UPDATE of the messages table, with its computed columns and
/// partial indexes, costs twice as much as running it.
/// </summary>
internal sealed class SqliteSession(SqliteConnection connection) : IDisposable
{
    private readonly Dictionary<string, SqliteCommand> _commands = new(StringComparer.Ordinal);

    /// <summary>For statements that are not kept prepared.</summary>
    public SqliteConnection Connection { get; } = connection;

    /// <summary>Whether a transaction is open: SQLite rolls back by itself when, say, the disk is full.</summary>
    public bool IsInTransaction => raw.sqlite3_get_autocommit(Connection.Handle) == 0;

    /// <summary>Runs a statement that returns one row at the most.</summary>
    /// <param name="sql">A constant, since its command is kept.</param>
    /// <param name="parameters">Name, with its @, to value.</param>
    /// <param name="map">See <c>SqlMapper.GetRowParser</c>.</param>
    public T? QuerySingleOrDefault<T>(string sql, ReadOnlySpan<(string Name, object? Value)> parameters, Func<DbDataReader, T> map)
        where T : class
    {
        using var reader = WithParameters(sql, parameters).ExecuteReader();
        return reader.Read() ? map(reader) : null;
    }

    /// <returns>How many rows it has written.</returns>
    public int Execute(string sql, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        WithParameters(sql, parameters).ExecuteNonQuery();

    /// <summary>Ends the open transaction, if there is one.</summary>
    /// <returns>False when that failed: the connection is then unusable.</returns>
    public bool TryRollBack()
    {
        try
        {
            if (IsInTransaction)
                Execute("ROLLBACK");
            return true;
        }
        catch (SqliteException)
        {
            return false; // The caller has the first error, which says more.
        }
    }

    /// <summary>Ends the session. The connection goes back to a pool, whose next user must not find a transaction open.</summary>
    public void Dispose()
    {
        if (!TryRollBack())
            SqliteConnection.ClearPool(Connection);
        foreach (var command in _commands.Values)
            command.Dispose();
        Connection.Dispose();
    }

    private SqliteCommand WithParameters(string sql, ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var command = Prepared(sql);
        var kept = command.Parameters;
        if (kept.Count == 0)
        {
            foreach (var (name, _) in parameters)
                kept.Add(new SqliteParameter { ParameterName = name });
        }

        for (var i = 0; i < parameters.Length; i++)
        {
            Debug.Assert(
                kept[i].ParameterName == parameters[i].Name, "A statement is always called with the same names, in the same order.");
            kept[i].Value = parameters[i].Value ?? DBNull.Value;
        }

        return command;
    }

    private SqliteCommand Prepared(string sql)
    {
        if (!_commands.TryGetValue(sql, out var command))
        {
            command = Connection.CreateCommand();
            command.CommandText = sql;
            _commands[sql] = command;
        }

        return command;
    }
}
