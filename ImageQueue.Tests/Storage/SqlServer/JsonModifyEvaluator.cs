using System.Data.SqlTypes;
using System.Text.Encodings.Web;
using System.Text.Json.Nodes;
using ImageQueue.Core.Storage.SqlServer;
using Microsoft.SqlServer.TransactSql.ScriptDom;

namespace ImageQueue.Tests.Storage.SqlServer;

/// <summary>
/// Computes a T-SQL expression of JSON functions by the rules that SQL Server documents, so that a wrong nesting is found
/// without a server. It knows only what the product's expressions use, and fails on the rest.
/// </summary>
/// <remarks>
/// The rules: lax paths; an object or array is read, a scalar is NULL; a write under a missing or scalar parent changes
/// nothing and says nothing; NULL removes; text is JSON only straight from JSON_QUERY or JSON_MODIFY and is quoted
/// otherwise, CASE and ISNULL included; ISNULL has its first argument's type and cuts to it; CASE nests ten deep.
/// </remarks>
internal sealed class JsonModifyEvaluator
{
    private const int Max = -1;

    private static readonly JsonSerializerOptions Relaxed = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Dictionary<string, Value> _parameters;
    private readonly Value _column;

    private JsonModifyEvaluator(IEnumerable<JsonModifyParameter> parameters, string? extraMetadata)
    {
        _parameters = parameters.ToDictionary(p => p.Name, FromParameter, StringComparer.OrdinalIgnoreCase);
        _column = new Value(extraMetadata, Max);
    }

    /// <summary>The expression's value for a row whose <c>extra_metadata</c> is the given text.</summary>
    /// <exception cref="SqlFailedException">SQL Server would refuse it, or nothing documented says what it does.</exception>
    public static string? Evaluate(JsonModifyExpression expression, string? extraMetadata) =>
        Evaluate(expression.Expression, expression.Parameters, extraMetadata);

    /// <inheritdoc cref="Evaluate(JsonModifyExpression, string?)"/>
    public static string? Evaluate(string expression, IEnumerable<JsonModifyParameter> parameters, string? extraMetadata)
    {
        var tree = Parse(expression);
        var nesting = new CaseNesting();
        tree.Accept(nesting);
        if (nesting.Deepest > 10)
            throw new SqlFailedException("Case expressions may only be nested to level 10. (125)");
        return (string?)new JsonModifyEvaluator(parameters, extraMetadata).Evaluate(tree).Content;
    }

    private static ScalarExpression Parse(string expression)
    {
        using var reader = new StringReader(expression);
        var tree = new TSql140Parser(initialQuotedIdentifiers: true).ParseExpression(reader, out var errors);
        return errors.Count == 0 ? tree : throw new SqlFailedException($"{errors[0].Message} ({errors[0].Number})");
    }

    private static Value FromParameter(JsonModifyParameter p) => p.Value switch
    {
        string text when p.Size != Max && text.Length > p.Size => new Value(text[..p.Size], p.Size),
        string text => new Value(text, p.Size),
        long or bool => new Value(p.Value, 0),
        SqlDecimal number => new Value(SqlDecimal.ConvertToPrecScale(number, p.Precision, p.Scale), 0),
        _ => throw new SqlFailedException($"{p.Value.GetType()} is not a type that JSON_MODIFY takes."),
    };

    private Value Evaluate(ScalarExpression node) => node switch
    {
        NullLiteral => Value.Null,
        IntegerLiteral number => new Value(long.Parse(number.Value, CultureInfo.InvariantCulture), 0),
        StringLiteral literal => new Value(literal.Value, Math.Max(1, literal.Value.Length)),
        VariableReference variable => _parameters.TryGetValue(variable.Name, out var value)
            ? value
            : throw new SqlFailedException($"Must declare the scalar variable \"{variable.Name}\". (137)"),
        ColumnReferenceExpression column => Column(column),
        ParenthesisExpression inner => Evaluate(inner.Expression),
        LeftFunctionCall left => Left(left),
        SearchedCaseExpression searched => Case(searched),
        FunctionCall call => Call(call),
        _ => throw new SqlFailedException($"{node.GetType().Name} is not known to the evaluator."),
    };

    private Value Column(ColumnReferenceExpression column) =>
        string.Equals(column.MultiPartIdentifier.Identifiers[^1].Value, JsonModify.Column, StringComparison.OrdinalIgnoreCase)
            ? _column
            : throw new SqlFailedException($"Invalid column name '{column.MultiPartIdentifier.Identifiers[^1].Value}'. (207)");

    private Value Call(FunctionCall call)
    {
        var arguments = call.Parameters.Select(Evaluate).ToList();
        return (call.FunctionName.Value.ToUpperInvariant(), arguments.Count) switch
        {
            ("ISNULL", 2) => IsNull(arguments[0], arguments[1]),
            ("LTRIM", 1) => arguments[0] with { Content = ((string?)arguments[0].Content)?.TrimStart(' '), IsJson = false },
            ("REPLACE", 3) => Replace(arguments[0], arguments[1], arguments[2]),
            ("NCHAR", 1) => new Value(((char)(long)arguments[0].Content!).ToString(), 1),
            ("JSON_QUERY", 1) => Query(arguments[0], new Value("$", 1)),
            ("JSON_QUERY", 2) => Query(arguments[0], arguments[1]),
            ("JSON_MODIFY", 3) => Modify(arguments[0], arguments[1], arguments[2]),
            _ => throw new SqlFailedException($"{call.FunctionName.Value} of {arguments.Count} arguments is not known to the evaluator."),
        };
    }

    private static Value Replace(Value text, Value what, Value with) =>
        text with
        {
            Content = ((string?)text.Content)?.Replace((string)what.Content!, (string)with.Content!, StringComparison.Ordinal),
            IsJson = false,
        };

    private static Value IsNull(Value check, Value replacement)
    {
        if (check.Content is not null)
            return check.AsPlain();
        if (check.Length is Max or 0 || replacement.Content is not string text || text.Length <= check.Length)
            return new Value(replacement.Content, check.Length);
        return new Value(text[..check.Length], check.Length);
    }

    private Value Left(LeftFunctionCall left)
    {
        var text = (string?)Evaluate(left.Parameters[0]).Content;
        var count = int.Parse(((IntegerLiteral)left.Parameters[1]).Value, CultureInfo.InvariantCulture);
        return new Value(text?[..Math.Min(count, text.Length)], count);
    }

    private Value Case(SearchedCaseExpression searched)
    {
        // Every branch has a say in the type, whichever is taken: the longest text wins.
        var branches = searched.WhenClauses.Select(when => when.ThenExpression)
            .Append(searched.ElseExpression)
            .OfType<ScalarExpression>()
            .Select(Evaluate)
            .ToList();
        var length = branches.Any(branch => branch.Length == Max) ? Max : branches.Max(branch => branch.Length);
        var taken = searched.WhenClauses.FirstOrDefault(when => IsTrue(when.WhenExpression))?.ThenExpression ?? searched.ElseExpression;
        return taken is null ? Value.Null : Evaluate(taken).AsPlain() with { Length = length };
    }

    /// <summary>Unknown, which a comparison with NULL gives, is not true.</summary>
    private bool IsTrue(BooleanExpression condition)
    {
        if (condition is not BooleanComparisonExpression { ComparisonType: BooleanComparisonType.Equals } comparison)
            throw new SqlFailedException($"{condition.GetType().Name} is not known to the evaluator.");
        var left = Evaluate(comparison.FirstExpression).Content;
        var right = Evaluate(comparison.SecondExpression).Content;
        return left is string l && right is string r && string.Equals(l, r, StringComparison.OrdinalIgnoreCase);
    }

    private static Value Query(Value json, Value path)
    {
        if (json.Content is not string text)
            return new Value(null, Max, IsJson: true);
        var found = ParseDocument(text);
        foreach (var step in ParsePath(path))
            found = Child(found, step);
        return new Value(found is JsonObject or JsonArray ? found.ToJsonString(Relaxed) : null, Max, IsJson: true);
    }

    private static Value Modify(Value json, Value path, Value value)
    {
        if (json.Content is not string text)
            return new Value(null, Max, IsJson: true);
        var document = ParseDocument(text);
        var steps = ParsePath(path);
        if (steps.Count == 0)
            throw new SqlFailedException("A path to the whole document is not known to the evaluator.");

        var parent = document;
        foreach (var step in steps.SkipLast(1))
            parent = Child(parent, step);
        Write(parent, steps[^1], value);
        return new Value(document.ToJsonString(Relaxed), Max, IsJson: true);
    }

    private static void Write(JsonNode? parent, object step, Value value)
    {
        // Lax: where the parent is missing, or of another kind, nothing happens and nothing is said.
        if (parent is JsonObject members && step is string key)
        {
            if (value.Content is null)
                members.Remove(key);
            else
                members[key] = JsonNode.Parse(value.ToJson());
        }
        else if (parent is JsonArray items && step is int index && index < items.Count)
        {
            items[index] = value.Content is null ? null : JsonNode.Parse(value.ToJson());
        }
    }

    private static JsonNode? Child(JsonNode? node, object step) => (node, step) switch
    {
        (JsonObject members, string key) => members.TryGetPropertyValue(key, out var child) ? child : null,
        (JsonArray items, int index) when index < items.Count => items[index],
        _ => null,
    };

    private static JsonNode ParseDocument(string text)
    {
        try
        {
            if (JsonNode.Parse(text) is { } node and (JsonObject or JsonArray))
                return node;
        }
        catch (JsonException)
        {
            // Said below, in SQL Server's words.
        }

        throw new SqlFailedException("JSON text is not properly formatted. (13609)");
    }

    /// <summary>The steps of a path: a string for a key, an int for an index.</summary>
    private static List<object> ParsePath(Value path)
    {
        if (path.Content is not string text)
            throw new SqlFailedException("A NULL path is not known to the evaluator.");
        var rest = text.StartsWith("lax ", StringComparison.Ordinal) ? text[4..] : text;
        if (!rest.StartsWith('$'))
            throw BadPath(text);
        var steps = new List<object>();
        for (var at = 1; at < rest.Length;)
        {
            int end;
            if (rest[at] == '[')
            {
                end = rest.IndexOf(']', at);
                if (end < 0
                    || !int.TryParse(rest.AsSpan(at + 1, end - at - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var index))
                {
                    throw BadPath(text);
                }

                steps.Add(index);
                at = end + 1;
            }
            else if (rest.AsSpan(at).StartsWith(".\""))
            {
                end = rest.IndexOf('"', at + 2);
                if (end <= at + 2 || rest.AsSpan(at, end - at).Contains('\\'))
                    throw BadPath(text);
                steps.Add(rest[(at + 2)..end]);
                at = end + 1;
            }
            else
            {
                end = at + 1;
                while (rest[at] == '.' && end < rest.Length && (char.IsAsciiLetterOrDigit(rest[end]) || rest[end] == '_'))
                    end++;
                if (end == at + 1)
                    throw BadPath(text);
                steps.Add(rest[(at + 1)..end]);
                at = end;
            }
        }

        return steps;
    }

    private static SqlFailedException BadPath(string path) => new($"JSON path is not properly formatted: {path} (13607)");

    /// <summary>
    /// A value, the length of its type (characters of text; -1 for max; 0 for what is not text), and whether JSON_MODIFY would take it as
    /// JSON.
    /// </summary>
    private sealed record Value(object? Content, int Length, bool IsJson = false)
    {
        public static Value Null { get; } = new(null, 0);

        public Value AsPlain() => this with { IsJson = false };

        public string ToJson() => Content switch
        {
            string text => IsJson ? text : Quote(text),
            bool bit => bit ? "true" : "false",
            long number => number.ToString(CultureInfo.InvariantCulture),
            SqlDecimal number => number.ToString(),
            _ => throw new SqlFailedException("No JSON for this type."),
        };

        /// <summary>STRING_ESCAPE's rules; the solidus is among what it escapes.</summary>
        private static string Quote(string text)
        {
            var json = new StringBuilder("\"");
            foreach (var c in text)
            {
                if (c is '"' or '\\' or '/')
                    json.Append('\\').Append(c);
                else if (c < ' ')
                    json.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                else
                    json.Append(c);
            }

            return json.Append('"').ToString();
        }
    }

    private sealed class CaseNesting : TSqlFragmentVisitor
    {
        private int _depth;

        public int Deepest { get; private set; }

        public override void ExplicitVisit(SearchedCaseExpression node)
        {
            Deepest = Math.Max(Deepest, ++_depth);
            base.ExplicitVisit(node);
            _depth--;
        }
    }
}

/// <summary>What the evaluator throws where SQL Server would raise an error, or where it does not know.</summary>
internal sealed class SqlFailedException(string message) : Exception(message);
