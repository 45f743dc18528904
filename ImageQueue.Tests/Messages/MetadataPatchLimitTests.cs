using System.Numerics;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>The limits that come from what SQL Server can hold and nest.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class MetadataPatchLimitTests
{
    [TestCase("""{"":1}""")]
    [TestCase("""{"a":{"":1}}""")]
    [TestCase("""{"a":[{"":1}]}""")]
    public void Parse_Refuses_WhenAKeyIsEmpty(string patch) =>
        Assert.That(() => MetadataPatch.Parse(patch), Throws.TypeOf<InvalidMetadataPatchException>().With.Message.Contains("is empty"));

    [Test]
    public void Parse_Refuses_WhenThePatchHasMoreThan256Keys()
    {
        Assert.That(MetadataPatch.Parse(Keys(256)).Root.GetPropertyCount(), Is.EqualTo(256));
        Assert.That(() => MetadataPatch.Parse(Keys(257)), Throws.TypeOf<InvalidMetadataPatchException>().With.Message.EqualTo(
            "The metadata has 257 keys; at most 256 are allowed in one patch. Send them in several patches, or as an array."));
    }

    [Test]
    public void Parse_CountsNestedKeys_ButNotThoseInArrays()
    {
        Assert.That(() => MetadataPatch.Parse($$"""{"a":{{Keys(255)}}}"""), Throws.Nothing);
        Assert.That(() => MetadataPatch.Parse($$"""{"a":{{Keys(256)}}}"""), Throws.TypeOf<InvalidMetadataPatchException>());
        Assert.That(() => MetadataPatch.Parse($$"""{"a":[{{Keys(1000)}}]}"""), Throws.Nothing);
    }

    [TestCase("0", 1, 0)]
    [TestCase("-0", 1, 0)]
    [TestCase("0.00", 2, 2)]
    [TestCase("0e400", 1, 0)]
    [TestCase("0.0e-400", 38, 38)]
    [TestCase("1.50", 3, 2)]
    [TestCase("-15e-1", 2, 1)]
    [TestCase("12.50e1", 4, 1)]
    [TestCase("0.1", 1, 1)]
    [TestCase("0.050", 3, 3)]
    [TestCase("0.001e5", 3, 0)]
    [TestCase("0.001e40", 38, 0)]
    [TestCase("1e37", 38, 0)]
    [TestCase("1E-38", 38, 38)]
    [TestCase("99999999999999999999999999999999999999", 38, 0)]
    [TestCase("9.9999999999999999999999999999999999999", 38, 37)]
    public void TryParse_CountsDigits_AsWritten(string number, int precision, int scale)
    {
        Assert.That(ExactNumber.TryParse(number, out var unscaled, out var s), Is.True);
        var digits = BigInteger.Abs(unscaled).ToString(CultureInfo.InvariantCulture).Length;
        Assert.That((Math.Max(digits, s), s), Is.EqualTo((precision, scale)));
    }

    [TestCase("100000000000000000000000000000000000000")]
    [TestCase("1e38")]
    [TestCase("1e-39")]
    [TestCase("1.00000000000000000000000000000000000000")]
    [TestCase("1e99999999999999999999")]
    [TestCase("-1e-2147483648")]
    public void Fits_IsFalse_WhenDecimal38CannotHoldIt(string number) =>
        Assert.That(ExactNumber.Fits(number), Is.False);

    [TestCase("-1.50e1", "-150", 1)]
    [TestCase("12e3", "12000", 0)]
    [TestCase("-0.0", "0", 1)]
    [TestCase("12345678901234567890123456789012345678", "12345678901234567890123456789012345678", 0)]
    public void TryParse_KeepsEveryDigit(string number, string unscaled, int scale)
    {
        Assert.That(ExactNumber.TryParse(number, out var digits, out var s), Is.True);
        Assert.That((digits, s), Is.EqualTo((BigInteger.Parse(unscaled, CultureInfo.InvariantCulture), scale)));
    }

    private static string Keys(int count) =>
        "{" + string.Join(',', Enumerable.Range(0, count).Select(i => string.Create(CultureInfo.InvariantCulture, $"\"k{i}\":{i}"))) + "}";
}
