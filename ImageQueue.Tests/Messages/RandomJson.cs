using CsCheck;

namespace ImageQueue.Tests.Messages;

/// <summary>Random stored documents and patches, over few keys so that they meet often.</summary>
internal static class RandomJson
{
    private static readonly Gen<string> Key = Gen.OneOfConst("a", "b", "c", "A", "a.b", "x y", "ı", "İ", "$", "[0]", "🎨");

    private static readonly Gen<string> Number = Gen.OneOf(
        Gen.Long.Select(n => n.ToString(CultureInfo.InvariantCulture)),
        Gen.Int[-9, 9].Select(n => n.ToString(CultureInfo.InvariantCulture)),
        Gen.Select(
            Gen.Int[-9999, 9999],
            Gen.Int[0, 99999],
            (whole, fraction) => string.Create(CultureInfo.InvariantCulture, $"{whole}.{fraction}")),
        Gen.Select(
            Gen.Int[-99, 99], Gen.Int[-30, 30], (digits, exponent) => string.Create(CultureInfo.InvariantCulture, $"{digits}e{exponent}")));

    private static readonly Gen<string> Scalar = Gen.OneOf(
        Number,
        Gen.OneOfConst("true", "false", "null", "null", "\"\"", "\"x\"", "\"{\"", "\"ş/🎨</script>\"", "\"\\\"\\\\\\n\""));

    /// <summary>A stored document, or none, and a patch for it.</summary>
    public static Gen<(string? Target, string Patch)> Merges { get; } = Gen.Select(
        Gen.Frequency((1, Gen.Const((string?)null)), (9, Object(4).Select(json => (string?)json))),
        Object(4));

    private static Gen<string> Object(int depth) =>
        Gen.Dictionary(Key, Value(depth))[0, 5].Select(
            members => "{" + string.Join(',', members.Select(member => $"\"{member.Key}\":{member.Value}")) + "}");

    private static Gen<string> Value(int depth) => depth == 0
        ? Scalar
        : Gen.Frequency((3, Scalar), (1, Array(depth - 1)), (4, Object(depth - 1)));

    private static Gen<string> Array(int depth) => Value(depth).Array[0, 3].Select(items => "[" + string.Join(',', items) + "]");
}
