using System.Numerics;

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
    public static bool Fits(string json) => TrySplit(json, out _, out _, out _);

    /// <summary>
    /// The number as <c>unscaled / 10^scale</c>. The scale is that of the number written out without an exponent, with the zeros that
    /// were written: 2 of <c>1.50</c>. Minus zero is zero.
    /// </summary>
    /// <returns>False when it would need more than <see cref="MaxPrecision"/> digits.</returns>
    public static bool TryParse(string json, out BigInteger unscaled, out int scale)
    {
        unscaled = BigInteger.Zero;
        if (!TrySplit(json, out var digits, out var shift, out scale))
            return false;
        if (digits.Length == 0)
            return true;

        // At most 38 digits are left here, so parsing is cheap however long the text was.
        unscaled = BigInteger.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture) * BigInteger.Pow(10, shift);
        if (json[0] == '-')
            unscaled = -unscaled;
        return true;
    }

    /// <summary>
    /// Splits the number into its digits without leading zeros (none for zero) and the zeros that a positive exponent
    /// puts behind them.
    /// </summary>
    private static bool TrySplit(string json, out string digits, out int shift, out int scale)
    {
        digits = "";
        shift = scale = 0;
        var text = json.AsSpan().TrimStart('-');
        var exponent = 0;
        var e = text.IndexOfAny('e', 'E');
        if (e >= 0)
        {
            if (!int.TryParse(text[(e + 1)..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent))
                return false;
            text = text[..e];
        }

        var point = text.IndexOf('.');
        var behindPoint = (point < 0 ? 0L : text.Length - point - 1) - exponent;
        var written = text.TrimStart("0.");
        var significant = written.Length - (written.Contains('.') ? 1 : 0);
        if (significant == 0)
        {
            // Zero is zero, whatever its exponent: only as many written zeros are kept as fit.
            scale = (int)Math.Clamp(behindPoint, 0, MaxPrecision);
            return true;
        }

        var needed = behindPoint <= 0 ? significant - behindPoint : Math.Max(significant, behindPoint);
        if (needed > MaxPrecision)
            return false;

        digits = written.ToString().Replace(".", "", StringComparison.Ordinal);
        shift = (int)Math.Max(0, -behindPoint);
        scale = (int)Math.Max(0, behindPoint);
        return true;
    }
}
