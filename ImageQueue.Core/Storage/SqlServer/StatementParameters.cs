using System.Buffers.Binary;
using System.Data;
using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>Parameters typed like their columns, so that plans are shared and indexes used.</summary>
internal sealed class StatementParameters : DynamicParameters
{
    private const int MaxText = JsonModify.MaxText;

    public StatementParameters Add(string name, long value) => With(name, value, DbType.Int64);

    public StatementParameters Add(string name, int value) => With(name, value, DbType.Int32);

    public StatementParameters Add(string name, double? value) => With(name, value, DbType.Double);

    /// <summary>For a <c>datetime2(3)</c>.</summary>
    public StatementParameters Add(string name, DateTime? value)
    {
        Add(name, value, DbType.DateTime2, ParameterDirection.Input, size: null, precision: null, scale: 3);
        return this;
    }

    /// <summary>For a <c>rowversion</c>: bytes, since a comparison as a number would not use the index.</summary>
    public StatementParameters AddRevision(string name, long revision)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, revision);
        return With(name, bytes, DbType.Binary, bytes.Length);
    }

    /// <summary>
    /// Text for a column of that size. Longer text is sent whole, to match nothing or be refused: cut, it would be another name.
    /// </summary>
    public StatementParameters AddText(string name, string? value, int size = MaxText) =>
        With(name, value, DbType.String, value?.Length > size ? MaxText : size);

    /// <summary>A username or conversation id, as it is stored.</summary>
    public StatementParameters AddName(string name, string value) => AddText(name, StoredName.Normalize(value), 100);

    private StatementParameters With(string name, object? value, DbType type, int? size = null)
    {
        Add(name, value, type, ParameterDirection.Input, size);
        return this;
    }
}
