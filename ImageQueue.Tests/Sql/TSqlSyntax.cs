using Microsoft.SqlServer.TransactSql.ScriptDom;

namespace ImageQueue.Tests.Sql;

/// <summary>Microsoft's T-SQL parsers for the oldest server that the product supports and for the newest there is.</summary>
internal static class TSqlSyntax
{
    /// <summary>What is wrong with the text, for each parser, with its line; nothing when both take it.</summary>
    public static IReadOnlyList<string> Errors(string sql) =>
        [.. Errors(new TSql140Parser(true), sql), .. Errors(new TSql180Parser(true), sql)];

    /// <summary>The text as SQL Server 2017 reads it.</summary>
    /// <exception cref="FormatException">It cannot be parsed.</exception>
    public static TSqlScript Parse(string sql)
    {
        using var reader = new StringReader(sql);
        var script = (TSqlScript)new TSql140Parser(true).Parse(reader, out var errors);
        return errors.Count == 0 ? script : throw new FormatException(errors[0].Message);
    }

    /// <summary>The fragment's own text.</summary>
    public static string TextOf(TSqlFragment fragment) =>
        string.Concat(
            fragment.ScriptTokenStream.Skip(fragment.FirstTokenIndex)
                .Take(fragment.LastTokenIndex - fragment.FirstTokenIndex + 1)
                .Select(token => token.Text));

    private static IEnumerable<string> Errors(TSqlParser parser, string sql)
    {
        using var reader = new StringReader(sql);
        parser.Parse(reader, out var errors);
        return errors.Select(error => $"{parser.GetType().Name}, line {error.Line}: {error.Message} ({error.Number})");
    }
}
