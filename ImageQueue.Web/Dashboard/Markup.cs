using System.Net;

namespace ImageQueue.Web.Dashboard;

/// <summary>HTML whose interpolated values are always encoded: prompts and names are user input.</summary>
internal sealed class Markup
{
    private readonly string _html;

    private Markup(string html) => _html = html;

    public static Markup None { get; } = new("");

    /// <summary>Literal parts verbatim, values encoded unless they are markup.</summary>
    public static Markup Of(FormattableString text) => new(text.ToString(Encoder.Instance));

    public static Markup Join(IEnumerable<Markup> parts) => new(string.Concat(parts.Select(part => part._html)));

    public static Markup Join<T>(IEnumerable<T> items, Func<T, Markup> of) => Join(items.Select(of));

    public static Markup Columns(params IEnumerable<string> names) => Join(names, name => Of($"<th scope=\"col\">{name}</th>"));

    /// <summary>A fact of a list; nothing without a value.</summary>
    /// <param name="value">Text or markup.</param>
    /// <param name="isWords">Whether its lines may break anywhere.</param>
    public static Markup Fact(string name, object? value, bool isWords = false) =>
        value is null ? None
        : isWords ? Of($"<dt>{name}</dt><dd class=\"iq-words\">{value}</dd>\n")
        : Of($"<dt>{name}</dt><dd>{value}</dd>\n");

    public override string ToString() => _html;

    private sealed class Encoder : IFormatProvider, ICustomFormatter
    {
        public static Encoder Instance { get; } = new();

        public object? GetFormat(Type? formatType) => formatType == typeof(ICustomFormatter) ? this : null;

        public string Format(string? format, object? arg, IFormatProvider? formatProvider) => arg switch
        {
            Markup markup => markup._html,
            IFormattable value => WebUtility.HtmlEncode(value.ToString(format, CultureInfo.InvariantCulture)),
            _ => arg?.ToString() is { } text ? WebUtility.HtmlEncode(JobNames.WithoutMarks(text)) : "",
        };
    }
}
