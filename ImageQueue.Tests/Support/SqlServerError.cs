using System.Reflection;
using Microsoft.Data.SqlClient;

namespace ImageQueue.Tests.Support;

/// <summary>Errors as SqlClient reports them, which only SqlClient itself can make.</summary>
internal static class SqlServerError
{
    private const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.Static | BindingFlags.NonPublic;

    /// <summary>What a server that raises it makes of a call.</summary>
    public static SqlException Of(int number, string message = "As the server says it.", byte severity = 16)
    {
        var error = Make<SqlError>(
            ("infoNumber", number), ("errorClass", severity), ("server", "db1"), ("errorMessage", message), ("procedure", ""));
        var errors = Make<SqlErrorCollection>();
        typeof(SqlErrorCollection).GetMethod("Add", Hidden)!.Invoke(errors, [error]); // SqlClient has it.
        var create = typeof(SqlException).GetMethods(Hidden).First(method =>
            method.Name == "CreateException"
                && method.GetParameters() is [{ } first, ..]
                && first.ParameterType == typeof(SqlErrorCollection)
            && method.GetParameters().All(parameter => parameter.ParameterType != typeof(SqlBatchCommand)
                && parameter.ParameterType.Name != "SqlInternalConnectionTds"));
        return (SqlException)create.Invoke(
            null,
            [.. create.GetParameters().Select(
                parameter => parameter.ParameterType == typeof(SqlErrorCollection) ? errors : Default(parameter.ParameterType))])!;
    }

    private static T Make<T>(params (string Name, object Value)[] values)
    {
        var constructor = typeof(T).GetConstructors(Hidden).OrderBy(candidate => candidate.GetParameters().Length)
            .First(candidate => values.All(value => candidate.GetParameters().Any(parameter => parameter.Name == value.Name)));
        return (T)constructor.Invoke([.. constructor.GetParameters().Select(parameter =>
            values.FirstOrDefault(value => value.Name == parameter.Name).Value ?? Default(parameter.ParameterType))]);
    }

    private static object? Default(Type type) => type == typeof(string) ? "" : type.IsValueType ? Activator.CreateInstance(type) : null;
}
