using System.Data;
using System.Data.Common;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>Opens connections, repeats statements that are safe to repeat, and translates errors.</summary>
/// <param name="create">Makes closed connections.</param>
internal sealed class SqlServerConnections(Func<DbConnection> create)
{
    private static readonly SqlRetryLogicBaseProvider OpenRetries = Retries(tries: 3, SqlServerErrors.SafeToReopen);

    // Each statement is its own transaction: one that the server has rolled back may be sent again.
    private static readonly SqlRetryLogicBaseProvider StatementRetries = Retries(tries: 6, SqlServerErrors.SafeToRepeat);

    public static SqlServerConnections To(SqlConnectionStringBuilder connectionString)
    {
        var text = connectionString.ConnectionString;
        return new SqlServerConnections(() => new SqlConnection(text) { RetryLogicProvider = OpenRetries });
    }

    /// <summary>
    /// Runs <paramref name="work"/> on an open connection, and again from the start when the server rolled it back for reasons outside
    /// the statement.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The server cannot be reached, or cannot do this now.</exception>
    public async Task<T> RunAsync<T>(Func<DbConnection, Task<T>> work, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            return await StatementRetries.ExecuteAsync(
                this,
                async () =>
                {
                    await using var connection = await OpenAsync(cancellationToken);
                    try
                    {
                        return await work(connection);
                    }
                    catch (InvalidOperationException e) when (connection.State != ConnectionState.Open)
                    {
                        // Dapper asks a reader for its next result after the connection has broken, and SqlClient calls that misuse.
                        throw new StoreUnavailableException("The message database broke off the connection.", e);
                    }
                },
                cancellationToken);
        }
        catch (Exception e) when (cancellationToken.IsCancellationRequested && (e is SqlException or AggregateException))
        {
            // SqlClient reports a cancelled statement as a server error.
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
        catch (Exception e) when (SqlServerErrors.Translate(e) is StoreUnavailableException unavailable)
        {
            throw unavailable;
        }
    }

    private async Task<DbConnection> OpenAsync(CancellationToken cancellationToken)
    {
        var connection = create();
        try
        {
            await connection.OpenAsync(cancellationToken);
            return connection;
        }
        catch (InvalidOperationException e)
        {
            await connection.DisposeAsync();
            throw new StoreUnavailableException(
                "The message database gave no connection in time: see whether it can be reached at all, "
                + "and if so raise Max Pool Size in ConnectionStrings:ImageQueue.",
                e);
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    private static SqlRetryLogicBaseProvider Retries(int tries, IEnumerable<int> numbers) =>
        SqlConfigurableRetryFactory.CreateExponentialRetryProvider(new SqlRetryLogicOption
        {
            NumberOfTries = tries,
            DeltaTime = TimeSpan.FromMilliseconds(20),
            MinTimeInterval = TimeSpan.FromMilliseconds(10),
            MaxTimeInterval = TimeSpan.FromSeconds(1),
            TransientErrors = numbers,
        });
}
