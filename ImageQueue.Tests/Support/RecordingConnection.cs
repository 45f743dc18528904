using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using System.Diagnostics.CodeAnalysis;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Tests.Support;

/// <summary>
/// A connection to nowhere that keeps every statement sent through it, with SqlClient's own parameters, and answers each with
/// nothing or with what the test says.
/// </summary>
internal sealed class RecordingConnection(SentStatements sent) : DbConnection
{
    private ConnectionState _state = ConnectionState.Closed;

    [AllowNull]
    public override string ConnectionString { get; set; } = "";

    public override string Database => "";

    public override string DataSource => "";

    public override string ServerVersion => "";

    public override ConnectionState State => _state;

    public override void ChangeDatabase(string databaseName) =>
        throw new NotSupportedException("Nothing here changes the database.");

    public override void Open() => _state = ConnectionState.Open;

    public override void Close() => _state = ConnectionState.Closed;

    protected override DbTransaction BeginDbTransaction(IsolationLevel isolationLevel) => new Transaction(this);

    protected override DbCommand CreateDbCommand() => new Command(this, sent) { Connection = this };

    /// <summary>As SqlClient reports a call on a connection that has broken.</summary>
    private void BreakIfAsked()
    {
        if (sent.Breaks is null)
            return;
        Close();
        throw new InvalidOperationException("Invalid attempt to call NextResultAsync when reader is closed.");
    }

    private sealed class Transaction(RecordingConnection connection) : DbTransaction
    {
        public override IsolationLevel IsolationLevel => IsolationLevel.ReadCommitted;

        protected override DbConnection DbConnection => connection;

        public override void Commit()
        {
            // Nothing was written.
        }

        public override void Rollback()
        {
            // Nothing was written.
        }
    }

    private sealed class Command(RecordingConnection connection, SentStatements sent) : DbCommand
    {
        private readonly SqlCommand _real = new();

        [AllowNull]
        public override string CommandText { get; set; } = "";

        public override int CommandTimeout { get; set; }

        public override CommandType CommandType { get; set; } = CommandType.Text;

        public override bool DesignTimeVisible { get; set; }

        public override UpdateRowSource UpdatedRowSource { get; set; }

        protected override DbConnection? DbConnection { get; set; }

        protected override DbParameterCollection DbParameterCollection => _real.Parameters;

        protected override DbTransaction? DbTransaction { get; set; }

        public override void Cancel()
        {
            // Nothing runs.
        }

        public override void Prepare() => throw new NotSupportedException("Nothing here prepares a statement.");

        public override int ExecuteNonQuery()
        {
            sent.Add(CommandText, _real.Parameters);
            connection.BreakIfAsked();
            return 0;
        }

        public override object? ExecuteScalar()
        {
            sent.Add(CommandText, _real.Parameters);
            connection.BreakIfAsked();
            return sent.Scalar(CommandText);
        }

        protected override DbParameter CreateDbParameter() => _real.CreateParameter();

        protected override DbDataReader ExecuteDbDataReader(CommandBehavior behavior)
        {
            sent.Add(CommandText, _real.Parameters);
            var reader = new DataTableReader([sent.Table(CommandText), sent.Next(CommandText)]);
            return sent.Breaks is { } point ? new BreakingReader(reader, connection, point) : reader;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                _real.Dispose();
            base.Dispose(disposing);
        }
    }
}

/// <summary>What was sent, in order.</summary>
internal sealed class SentStatements
{
    private readonly ConcurrentQueue<SentStatement> _all = new();

    public IReadOnlyCollection<SentStatement> All => _all;

    /// <summary>Where the connection breaks within each answer; null: nowhere.</summary>
    public BreakingPoint? Breaks { get; init; }

    /// <summary>What ExecuteScalar gives.</summary>
    public Func<string, object?> Scalar { get; init; } = _ => null;

    /// <summary>The first result set of a query.</summary>
    public Func<string, DataTable> Table { get; init; } = _ => new DataTable();

    /// <summary>The second one.</summary>
    public Func<string, DataTable> Next { get; init; } = _ => new DataTable();

    /// <summary>What the server raises instead of an answer; null: nothing.</summary>
    public Func<string, Exception?> Error { get; init; } = _ => null;

    public void Add(string text, SqlParameterCollection parameters)
    {
        _all.Enqueue(new SentStatement(
            text,
            [.. parameters.Cast<SqlParameter>().Select(
                p => new SentParameter(p.ParameterName.TrimStart('@'), p.SqlDbType, p.Size, p.Scale, p.Value))]));
        if (Error(text) is { } error)
            throw error;
    }
}

internal sealed record SentStatement(string Text, IReadOnlyList<SentParameter> Parameters);

internal sealed record SentParameter(string Name, SqlDbType Type, int Size, byte Scale, object? Value);
