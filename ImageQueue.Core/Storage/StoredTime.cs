using System.Data;
using Dapper;

namespace ImageQueue.Core.Storage;

/// <summary>The one place where stored times become UTC: SQLite's are text, SQL Server's carry no zone.</summary>
internal sealed class StoredTime : SqlMapper.TypeHandler<DateTimeOffset>
{
    /// <summary>RFC 3339 in UTC with milliseconds: sorts as text.</summary>
    private const string Format = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    /// <summary>As SQLite stores it.</summary>
    public static string Write(DateTimeOffset time) => time.UtcDateTime.ToString(Format, CultureInfo.InvariantCulture);

    public override DateTimeOffset Parse(object value) => value is string text
        ? DateTimeOffset.ParseExact(text, Format, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal)
        : new(DateTime.SpecifyKind((DateTime)value, DateTimeKind.Utc));

    public override void SetValue(IDbDataParameter parameter, DateTimeOffset value) =>
        throw new NotSupportedException("Each store writes times in its own form.");
}
