using System.Data;
using System.Data.SqlTypes;
using System.Numerics;
using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// Writes a merge patch (RFC 7396) as one nested JSON_MODIFY expression over the column <c>extra_metadata</c>, so that the
/// merge happens inside the UPDATE that stores it, under the row's lock.
/// </summary>
/// <remarks>
/// <para>
/// JSON_MODIFY changes nothing, silently, when a step before the last one is missing. So no path has more than one step:
/// each object of the patch becomes a chain of JSON_MODIFY calls over its counterpart, and that chain's result is the new
/// value one level up. The counterpart is read from the original column by its full path, never from the expression
/// around it; that keeps the text linear in the patch. It also keeps CASE out of CASE (SQL Server allows ten levels).
/// </para>
/// <para>
/// JSON_MODIFY takes text as JSON only straight from JSON_QUERY or JSON_MODIFY, and quotes it as a string when it comes
/// through CASE or a parameter. Hence the JSON_QUERY around every object and array.
/// </para>
/// <para>
/// Keys are compared exactly: the steps of a path match case-sensitively and whatever the database's collation is
/// ("BIN2 comparison", says OPENJSON's reference), so <c>Title</c> and <c>title</c>, or the Turkish dotted and dotless i,
/// are different keys here as they are in SQLite.
/// </para>
/// <para>
/// The text depends on the patch's shape alone: keys and values are parameters, of few sizes, so that plans are shared.
/// There are at most two parameters to a member and <see cref="MetadataPatch.MaxMembers"/> members: 512 of the 2,100 that
/// a statement may have, and 256 nested calls, a tenth of what exhausts SQL Server's stack (error 8631).
/// </para>
/// </remarks>
internal static class JsonModify
{
    /// <summary>The column that patches are merged into.</summary>
    public const string Column = "extra_metadata";

    /// <summary>
    /// Longest text in characters, and of every path, that is sent as <c>nvarchar(4000)</c>; longer goes as <c>nvarchar(max)</c>.
    /// </summary>
    public const int ShortText = 4000;

    /// <summary>The size that stands for <c>nvarchar(max)</c>.</summary>
    public const int MaxText = -1;

    /// <summary>
    /// The column's document, from which a merge starts: an empty object where the column is NULL or holds no object. Blanks before the
    /// object are removed; a row written before the check constraint may have them.
    /// </summary>
    public const string Document =
        $"CASE WHEN LEFT({Column}, 1) = N'{{' THEN {Column} WHEN LEFT({Trimmed}, 1) = N'{{' THEN {Trimmed} ELSE N'{{}}' END";

    /// <summary>JSON's blanks, which stand between its tokens and never raw in its texts. TRIM's are the same only from 2022 on.</summary>
    private const string Trimmed = $"LTRIM(REPLACE(REPLACE(REPLACE({Column}, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' '))";

    /// <summary>The expression whose value is the column's document with the patch merged into it.</summary>
    /// <remarks>Its parameters are named <c>@m0</c>, <c>@m1</c>, ...: the statement around it must not use those.</remarks>
    public static JsonModifyExpression For(MetadataPatch patch)
    {
        ArgumentNullException.ThrowIfNull(patch);
        var writer = new Writer();
        writer.Merge(patch.Root, "$", Document);
        return new JsonModifyExpression(writer.Text.ToString(), writer.Parameters);
    }

    /// <summary>Appends the expression's text and collects its parameters in the order in which they appear.</summary>
    private sealed class Writer
    {
        public StringBuilder Text { get; } = new();

        public List<JsonModifyParameter> Parameters { get; } = [];

        /// <summary>
        /// Writes <paramref name="source"/>, the object stored at <paramref name="path"/>, with the patch's object merged into it.
        /// </summary>
        public void Merge(JsonElement patch, string path, string source)
        {
            Text.Insert(Text.Length, "JSON_MODIFY(", patch.GetPropertyCount());
            Text.Append(source);
            foreach (var member in patch.EnumerateObject())
            {
                // MetadataPatch has refused quotation marks, backslashes and control characters, which would need escapes.
                var step = $".\"{member.Name}\"";
                var key = Add("$" + step, DbType.String, ShortText);
                Text.Append(", ").Append(key).Append(", ");
                if (member.Value.ValueKind == JsonValueKind.Object)
                    MergeObject(member.Value, path + step, path == "$" ? key : null);
                else
                    Replace(member.Value);
                Text.Append(')');
            }
        }

        private void MergeObject(JsonElement patch, string path, string? parameter)
        {
            parameter ??= Add(path, DbType.String, ShortText);

            // Missing, a scalar or an array: RFC 7396 starts from an empty object.
            var stored = $"JSON_QUERY({Column}, {parameter})";
            Text.Append("JSON_QUERY(");
            Merge(patch, path, $"CASE WHEN LEFT({stored}, 1) = N'{{' THEN {stored} ELSE N'{{}}' END");
            Text.Append(')');
        }

        private void Replace(JsonElement value)
        {
            Text.Append(value.ValueKind switch
            {
                JsonValueKind.Null => "NULL",
                JsonValueKind.True or JsonValueKind.False => Add(value.GetBoolean(), DbType.Boolean),
                JsonValueKind.Number => AddNumber(value.GetRawText()),
                JsonValueKind.String => AddText(value.GetString()!),
                JsonValueKind.Array => $"JSON_QUERY({Add(value.GetRawText(), DbType.String, MaxText)})",
                _ => throw new InvalidOperationException($"A patch cannot hold {value.ValueKind}."),
            });
        }

        private string AddText(string value) => Add(value, DbType.String, value.Length <= ShortText ? ShortText : MaxText);

        /// <summary>
        /// Never a float: JSON_MODIFY would print it with an exponent and 16 digits. Always the full precision, so that
        /// only the scale, which decides what is printed, makes another plan.
        /// </summary>
        private string AddNumber(string json)
        {
            if (!ExactNumber.TryParse(json, out var unscaled, out var scale))
                throw new InvalidOperationException("A checked patch held a number of more than 38 digits.");
            return scale == 0 && unscaled >= long.MinValue && unscaled <= long.MaxValue
                ? Add((long)unscaled, DbType.Int64)
                : Add(ToSqlDecimal(unscaled, scale), DbType.Decimal, precision: ExactNumber.MaxPrecision, scale: (byte)scale);
        }

        private string Add(object value, DbType type, int size = 0, byte precision = 0, byte scale = 0)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"@m{Parameters.Count}");
            Parameters.Add(new JsonModifyParameter(name, value, type, size, precision, scale));
            return name;
        }
    }

    /// <summary>.NET's own decimal holds 28 digits for certain; SQL Server's holds 38.</summary>
    private static SqlDecimal ToSqlDecimal(BigInteger unscaled, int scale)
    {
        var magnitude = BigInteger.Abs(unscaled);
        Span<int> words = stackalloc int[4];
        for (var i = 0; i < words.Length; i++)
        {
            words[i] = unchecked((int)(uint)(magnitude & uint.MaxValue));
            magnitude >>= 32;
        }

        return new SqlDecimal(ExactNumber.MaxPrecision, (byte)scale, unscaled.Sign >= 0, words[0], words[1], words[2], words[3]);
    }
}

/// <summary>A T-SQL expression over <see cref="JsonModify.Column"/> and the parameters that it names.</summary>
internal sealed record JsonModifyExpression(string Expression, IReadOnlyList<JsonModifyParameter> Parameters)
{
    public void AddTo(DynamicParameters parameters)
    {
        foreach (var p in Parameters)
        {
            if (p.DbType == DbType.Decimal)
                parameters.Add(p.Name, p.Value, p.DbType, ParameterDirection.Input, null, p.Precision, p.Scale);
            else
                parameters.Add(p.Name, p.Value, p.DbType, ParameterDirection.Input, p.Size == 0 ? null : p.Size);
        }
    }
}

/// <summary>One parameter of a <see cref="JsonModifyExpression"/>.</summary>
/// <param name="Name">With its <c>@</c>.</param>
/// <param name="Value">A string, <see cref="long"/>, <see cref="SqlDecimal"/> or <see cref="bool"/>; never null.</param>
/// <param name="DbType">String, Int64, Decimal or Boolean.</param>
/// <param name="Size">Of a string: 4000, or -1 for <c>nvarchar(max)</c>; else 0.</param>
/// <param name="Precision">Of a decimal; else 0.</param>
/// <param name="Scale">Of a decimal; else 0.</param>
internal sealed record JsonModifyParameter(string Name, object Value, DbType DbType, int Size, byte Precision, byte Scale);
