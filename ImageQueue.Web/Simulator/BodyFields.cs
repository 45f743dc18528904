namespace ImageQueue.Web.Simulator;

/// <summary>
/// Reads fields of a JSON body, noting what has a wrong type in the form of FastAPI's 422. A field that is missing or null
/// reads as null.
/// </summary>
internal sealed class BodyFields
{
    private readonly JsonElement _body;
    private readonly List<object> _errors = [];

    /// <summary>Parses a body; what is not a JSON object is noted as an error.</summary>
    public BodyFields(ReadOnlyMemory<byte> body)
    {
        try
        {
            if (body.IsEmpty)
            {
                Note("missing", "Field required", null);
                return;
            }

            using var document = JsonDocument.Parse(body);
            _body = document.RootElement.Clone();
            if (_body.ValueKind != JsonValueKind.Object)
                Note("model_attributes_type", "Input should be a valid dictionary or object to extract fields from", _body);
        }
        catch (JsonException)
        {
            Note("json_invalid", "JSON decode error", null);
        }
    }

    public IReadOnlyList<object> Errors => _errors;

    public string? Text(string name, bool notNull = false) =>
        Read(name, "string_type", "string", notNull, value => value.ValueKind == JsonValueKind.String ? value.GetString() : null);

    public long? Integer(string name, bool notNull = false) => Read<long?>(
        name, "int_type", "integer", notNull,
        value => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var whole) ? whole : null);

    /// <summary>Clamped to 32 bits: larger numbers fail later, as in Python, where integers have no limit.</summary>
    public int? Count(string name) => Integer(name) is { } value ? (int)Math.Clamp(value, int.MinValue, int.MaxValue) : null;

    public double? Number(string name) => Read<double?>(
        name, "float_type", "number", notNull: false,
        value => value.ValueKind == JsonValueKind.Number && double.IsFinite(value.GetDouble()) ? value.GetDouble() : null);

    public bool? Flag(string name) => Read<bool?>(
        name, "bool_type", "boolean", notNull: true,
        value => value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : null);

    public IReadOnlyList<string>? Texts(string name) => Read<IReadOnlyList<string>>(
        name, "list_type", "list", notNull: false,
        value => value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            ? [.. value.EnumerateArray().Select(item => item.GetString()!)] // Strings, as was just checked.
            : null);

    public JsonElement? Object(string name) =>
        Read<JsonElement?>(name, "dict_type", "dictionary", false, value => value.ValueKind == JsonValueKind.Object ? value : null);

    /// <summary>The first of these that was sent as null.</summary>
    public string? FirstNull(params IEnumerable<string> names) =>
        names.FirstOrDefault(name => Find(name) is { ValueKind: JsonValueKind.Null });

    private JsonElement? Find(string name) =>
        _body.ValueKind == JsonValueKind.Object && _body.TryGetProperty(name, out var value) ? value : null;

    private T? Read<T>(string name, string type, string kind, bool notNull, Func<JsonElement, T?> read)
    {
        if (Find(name) is not { } value || (value.ValueKind == JsonValueKind.Null && !notNull))
            return default;
        try
        {
            if (read(value) is { } found)
                return found;
            Note(type, $"Input should be a valid {kind}", IsWritable(value) ? value : null, name);
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair.
            Note("string_unicode", "Input should be a valid string, unable to parse raw data as a unicode string", null, name);
        }

        return default;
    }

    /// <summary>False for half of a surrogate pair anywhere in it.</summary>
    private static bool IsWritable(JsonElement value)
    {
        try
        {
            return JsonSerializer.SerializeToUtf8Bytes(value).Length > 0;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    private void Note(string type, string message, JsonElement? input, params string[] field) =>
        _errors.Add(new { type, loc = (string[])["body", .. field], msg = message, input });
}
