namespace ImageQueue.Core.Messages;

/// <summary>The limits of requests and settings, each with a sentence that says what to send instead.</summary>
public sealed class RequestRules
{
    /// <summary>Longest prompt, in UTF-16 code units after trimming.</summary>
    public const int MaxPromptLength = 4000;

    /// <summary>Longest username or conversation id, in UTF-16 code units.</summary>
    public const int MaxNameLength = 100;

    private readonly Dictionary<string, string[]> _errors = new(StringComparer.Ordinal);

    /// <summary>Field to sentences.</summary>
    public IReadOnlyDictionary<string, string[]> Errors => _errors;

    /// <summary>A username or an id: 1..100 characters on one line.</summary>
    public void Name(string field, string value) => Line(field, value, MaxNameLength);

    /// <summary>The same, where null is allowed.</summary>
    public void OptionalName(string field, string? value, int maxLength = MaxNameLength)
    {
        if (value is not null)
            Line(field, value, maxLength);
    }

    /// <summary>Text that may have several lines.</summary>
    public void Text(string field, string value, int maxLength)
    {
        if (Length(field, value, maxLength) && value.Any(c => char.IsControl(c) && c is not ('\n' or '\r' or '\t')))
            Add(field, $"{field} holds a control character; remove it.");
    }

    /// <summary>An image's side in pixels.</summary>
    public void Size(string field, int? value)
    {
        if (value is { } pixels && (pixels is < 64 or > 2048 || pixels % 8 != 0))
            Add(field, $"{field} must be a multiple of 8 from 64 to 2048, not {Text(pixels)}.");
    }

    /// <summary>A number between two others.</summary>
    public void Range<T>(string field, T? value, T min, T max)
        where T : struct, IComparable<T>, IFormattable
    {
        if (value is { } number && (number.CompareTo(min) < 0 || number.CompareTo(max) > 0))
            Add(field, $"{field} must be from {Text(min)} to {Text(max)}, not {Text(number)}.");
    }

    /// <summary>Adds a sentence; the first one of a field stays.</summary>
    public void Add(string field, string sentence) => _errors.TryAdd(field, [sentence]);

    private void Line(string field, string value, int maxLength)
    {
        if (!Length(field, value, maxLength))
            return;
        if (value.Any(char.IsControl))
            Add(field, $"{field} holds a control character; remove it.");
        else if (char.IsWhiteSpace(value[0]) || char.IsWhiteSpace(value[^1]))
            Add(field, $"{field} begins or ends with a blank; remove it."); // SQL Server compares without the blanks at the end.
    }

    private bool Length(string field, string value, int maxLength)
    {
        if (string.IsNullOrWhiteSpace(value))
            Add(field, $"{field} must not be empty.");
        else if (value.Length > maxLength)
            Add(field, $"{field} must have at most {Text(maxLength)} characters, not {Text(value.Length)}.");
        else
            return true;
        return false;
    }

    private static string Text<T>(T value)
        where T : IFormattable => value.ToString(null, CultureInfo.InvariantCulture);
}
