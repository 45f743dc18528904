using ImageQueue.Web.Errors;
using SkiaSharp;

namespace ImageQueue.Web.Compatibility;

/// <summary>The image that a call of another API starts from.</summary>
/// <param name="Image">As it was sent; what it is, the upload finds out.</param>
/// <param name="Mask">White is generated anew; null: everything is.</param>
/// <param name="Strength">0..1; null: the default.</param>
/// <param name="Upscale">2 or 4; null: it is varied.</param>
internal sealed record CallSource(byte[] Image, byte[]? Mask = null, decimal? Strength = null, int? Upscale = null)
{
    /// <summary>OpenAI's masks are transparent where the image is generated anew.</summary>
    /// <exception cref="ProblemException">It is no image, or has no transparent part.</exception>
    public static byte[] MaskOfTransparency(byte[] mask) => Redraw(mask, "mask", colour => (byte)(255 - colour.Alpha))
        ?? throw InvalidField(
            "mask", "mask has no transparent part. What is transparent in it is generated anew; make that part transparent.");

    /// <summary>A mask with black and white exchanged.</summary>
    /// <exception cref="ProblemException">It is no image.</exception>
    public static byte[] Invert(byte[] mask) =>
        Redraw(mask, "mask", colour => (byte)(255 - ((colour.Red + colour.Green + colour.Blue) / 3))) ?? mask;

    internal static ProblemException InvalidField(string field, string sentence) =>
        new(ProblemCodes.InvalidRequest, sentence, field, StatusCodes.Status422UnprocessableEntity);

    /// <returns>A grey PNG; null when all of it would be black.</returns>
    private static byte[]? Redraw(byte[] image, string field, Func<SKColor, byte> grey)
    {
        const int MaxPixels = 4096 * 4096;
        using var data = SKData.CreateCopy(image);
        using var codec = SKCodec.Create(data);
        if (codec is null || (long)codec.Info.Width * codec.Info.Height > MaxPixels)
            throw InvalidField(field, $"{field} must be a PNG image of at most 4096 x 4096 pixels.");
        using var bitmap = new SKBitmap(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Unpremul);
        if (codec.GetPixels(bitmap.Info, bitmap.GetPixels()) != SKCodecResult.Success)
            throw InvalidField(field, $"{field} is cut short or broken; send a whole PNG image.");
        using var mask = new SKBitmap(new SKImageInfo(bitmap.Width, bitmap.Height, SKColorType.Gray8, SKAlphaType.Opaque));
        var (from, isBlack) = (bitmap.Pixels, true);
        var to = mask.GetPixelSpan();
        for (var y = 0; y < bitmap.Height; y++)
        {
            for (var x = 0; x < bitmap.Width; x++)
            {
                var value = grey(from[(y * bitmap.Width) + x]);
                to[(y * mask.RowBytes) + x] = value;
                isBlack &= value == 0;
            }
        }

        if (isBlack)
            return null;
        using var encoded = mask.Encode(SKEncodedImageFormat.Png, 100);
        return encoded.ToArray();
    }
}
