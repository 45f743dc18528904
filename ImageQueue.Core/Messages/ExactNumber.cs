using System.Globalization;

namespace ImageQueue.Core.Messages;

/// <summary>
/// The digits of a JSON number (RFC 8259 section 6), apart from how it was written: 1.50, 15e-1 and 1.5 have the
/// same value, and every digit of it counts.
/// </summary>
internal static class ExactNumber
{
    /// <summary>The largest precision of SQL Server's <c>decimal</c>.</summary>
    public const int MaxPrecision = 38;

    /// <summary>Whether <paramref name="json"/>, written out without an exponent, fits <c>decimal(38, s)</c> for some scale s.</summary>
    public static bool Fits(string json) => TryGetShape(json, out _, out _);

    /// <summary>
    /// The precision (digits in all) and scale (digits behind the point) of the number when it is written out without an
    /// exponent, keeping the zeros that were written: <c>1.50</c> has precision 3 and scale 2.
    /// </summary>
    /// <returns>False when it would need more than <see cref="MaxPrecision"/> digits.</returns>
    public static bool TryGetShape(string json, out int precision, out int scale)
    {
        precision = scale = 0;
        var text = json.AsSpan().TrimStart('-');
        var exponent = 0;
        var e = text.IndexOfAny('e', 'E');
        if (e >= 0)
        {
            if (!int.TryParse(text[(e + 1)..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent)
                || Math.Abs((long)exponent) > 1000)
            {
                return false;
            }

            text = text[..e];
        }

        var point = text.IndexOf('.');
        var whole = point < 0 ? text : text[..point];
        var fractionDigits = point < 0 ? 0 : text.Length - point - 1;
        var wholeDigits = whole.TrimStart('0').Length;

        scale = Math.Max(0, fractionDigits - exponent);
        var digitsBeforePoint = wholeDigits == 0
            ? Math.Max(0, exponent)
            : Math.Max(0, wholeDigits + exponent);
        precision = Math.Max(1, digitsBeforePoint + scale);
        return precision <= MaxPrecision;
    }
}
