using System.Globalization;
using System.Text.Json;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// Reads fields of a JSON body as pydantic does in its lax mode, collecting errors of the form that FastAPI's 422 has.
/// A field that is missing or null reads as null.
/// </summary>
internal sealed class PydanticFields
{
    private static readonly string[] s_body = ["body"];

    private readonly JsonElement _body;
    private readonly List<object> _errors = [];

    public PydanticFields(JsonElement body)
    {
        _body = body;
        if (body.ValueKind != JsonValueKind.Object)
        {
            _errors.Add(new
            {
                type = "model_attributes_type",
                loc = s_body,
                msg = "Input should be a valid dictionary or object to extract fields from",
                input = body.Clone(),
            });
        }
    }

    /// <summary>Parses a body; null with the errors when it is not JSON.</summary>
    public static (JsonDocument? Document, IReadOnlyList<object> Errors) Parse(ReadOnlyMemory<byte> body)
    {
        if (body.IsEmpty)
        {
            return (null, [new { type = "missing", loc = s_body, msg = "Field required", input = (string?)null }]);
        }

        try
        {
            return (JsonDocument.Parse(body), []);
        }
        catch (JsonException e)
        {
            var loc = new object[] { "body", e.BytePositionInLine ?? 0 };
            return (null, [new { type = "json_invalid", loc, msg = "JSON decode error", input = new { }, ctx = new { error = "Expecting value" } }]);
        }
    }

    public IReadOnlyList<object> Errors => _errors;

    public bool IsNull(string name) =>
        _body.ValueKind == JsonValueKind.Object && _body.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Null;

    public string? FirstNull(params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (IsNull(name))
            {
                return name;
            }
        }

        return null;
    }

    public string? Text(string name)
    {
        if (!Find(name, out var value))
        {
            return null;
        }

        if (value.ValueKind != JsonValueKind.String)
        {
            return Fail<string>(name, value, "string_type", "Input should be a valid string");
        }

        try
        {
            return value.GetString();
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair, written as an escape.
            _errors.Add(new
            {
                type = "string_unicode",
                loc = new[] { "body", name },
                msg = "Input should be a valid string, unable to parse raw data as a unicode string",
                input = "",
            });
            return null;
        }
    }

    /// <summary>Reports null too: for fields that are not optional.</summary>
    public string? RequiredText(string name) =>
        IsNull(name) ? Fail<string>(name, _body.GetProperty(name), "string_type", "Input should be a valid string") : Text(name);

    public long? Integer(string name, long most = long.MaxValue)
    {
        if (!Find(name, out var value))
        {
            return null;
        }

        switch (value.ValueKind)
        {
            case JsonValueKind.True:
                return 1;
            case JsonValueKind.False:
                return 0;
            case JsonValueKind.Number when value.TryGetInt64(out var whole):
                return Math.Clamp(whole, -most, most);
            case JsonValueKind.Number when value.TryGetDouble(out var number) && Math.Abs(number) < 1e15:
                return double.IsInteger(number)
                    ? Math.Clamp((long)number, -most, most)
                    : FailValue<long>(name, value, "int_from_float", "Input should be a valid integer, got a number with a fractional part");
            case JsonValueKind.String when long.TryParse(value.GetString(), NumberStyles.Integer, CultureInfo.InvariantCulture, out var parsed):
                return Math.Clamp(parsed, -most, most);
            case JsonValueKind.String:
                return FailValue<long>(name, value, "int_parsing", "Input should be a valid integer, unable to parse string as an integer");
            default:
                return FailValue<long>(name, value, "int_type", "Input should be a valid integer");
        }
    }

    /// <summary>Reports null too: for fields that are not optional.</summary>
    public long? RequiredInteger(string name) =>
        IsNull(name) ? FailValue<long>(name, _body.GetProperty(name), "int_type", "Input should be a valid integer") : Integer(name);

    public double? Number(string name)
    {
        if (!Find(name, out var value))
        {
            return null;
        }

        return value.ValueKind switch
        {
            JsonValueKind.Number when double.IsFinite(value.GetDouble()) => value.GetDouble(),
            JsonValueKind.Number => FailValue<double>(name, value, "finite_number", "Input should be a finite number"),
            JsonValueKind.True => 1,
            JsonValueKind.False => 0,
            JsonValueKind.String when double.TryParse(value.GetString(), NumberStyles.Float, CultureInfo.InvariantCulture, out var parsed) && double.IsFinite(parsed) => parsed,
            JsonValueKind.String => FailValue<double>(name, value, "float_parsing", "Input should be a valid number, unable to parse string as a number"),
            _ => FailValue<double>(name, value, "float_type", "Input should be a valid number"),
        };
    }

    public bool? Flag(string name)
    {
        if (IsNull(name))
        {
            return FailValue<bool>(name, _body.GetProperty(name), "bool_type", "Input should be a valid boolean");
        }

        if (!Find(name, out var value))
        {
            return null;
        }

        return value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Number when value.TryGetInt64(out var whole) && whole is 0 or 1 => value.GetInt64() == 1,
            JsonValueKind.String when ParseFlag(value.GetString()) is { } parsed => parsed,
            JsonValueKind.String or JsonValueKind.Number =>
                FailValue<bool>(name, value, "bool_parsing", "Input should be a valid boolean, unable to interpret input"),
            _ => FailValue<bool>(name, value, "bool_type", "Input should be a valid boolean"),
        };
    }

    public JsonElement? Object(string name)
    {
        if (!Find(name, out var value))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Object
            ? value.Clone()
            : FailValue<JsonElement>(name, value, "dict_type", "Input should be a valid dictionary");
    }

    /// <summary>The words that pydantic takes for true and false.</summary>
    public static bool? ParseFlag(string? text) => text?.ToLowerInvariant() switch
    {
        "true" or "t" or "1" or "yes" or "y" or "on" => true,
        "false" or "f" or "0" or "no" or "n" or "off" => false,
        _ => null,
    };

    private bool Find(string name, out JsonElement value)
    {
        value = default;
        return _body.ValueKind == JsonValueKind.Object && _body.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;
    }

    private T? Fail<T>(string name, JsonElement value, string type, string message)
        where T : class
    {
        _errors.Add(new { type, loc = new[] { "body", name }, msg = message, input = value.Clone() });
        return null;
    }

    private T? FailValue<T>(string name, JsonElement value, string type, string message)
        where T : struct
    {
        Fail<string>(name, value, type, message);
        return null;
    }
}
