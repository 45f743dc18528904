using System.Globalization;
using System.Net;

namespace ImageQueue.Web.Dashboard;

/// <summary>HTML in which whatever was put into it is text: prompts and names are whatever their users like.</summary>
internal sealed class Markup
{
    private readonly string _html;

    private Markup(string html) => _html = html;

    /// <summary>Nothing.</summary>
    public static Markup None { get; } = new("");

    /// <summary>The literal parts as they are; what stands between is encoded, unless it is markup itself.</summary>
    public static Markup Of(FormattableString text) => new(text.ToString(Encoder.Instance));

    /// <summary>One after the other.</summary>
    public static Markup Join(IEnumerable<Markup> parts) => new(string.Concat(parts.Select(part => part._html)));

    /// <inheritdoc/>
    public override string ToString() => _html;

    private sealed class Encoder : IFormatProvider, ICustomFormatter
    {
        public static Encoder Instance { get; } = new();

        public object? GetFormat(Type? formatType) => formatType == typeof(ICustomFormatter) ? this : null;

        public string Format(string? format, object? arg, IFormatProvider? formatProvider) => arg switch
        {
            Markup markup => markup._html,
            IFormattable value => WebUtility.HtmlEncode(value.ToString(format, CultureInfo.InvariantCulture)),
            _ => WebUtility.HtmlEncode(arg?.ToString()) ?? "",
        };
    }
}
