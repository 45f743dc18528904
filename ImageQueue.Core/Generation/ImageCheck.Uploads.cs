using ImageQueue.Core.Forge;
using SkiaSharp;

namespace ImageQueue.Core.Generation;

/// <summary>What people upload: nothing of the sent bytes is kept but the pixels.</summary>
internal static partial class ImageCheck
{
    /// <summary>The first picture in the bytes as PNG: upright, in sRGB, without metadata.</summary>
    /// <param name="longestSide">Pixels; a larger image is made smaller.</param>
    /// <returns>Null when the bytes are none of PNG, JPEG and WebP.</returns>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.BadImage"/>: cut short, corrupt, or far too large.</exception>
    public static CheckedImage? ToUpload(ReadOnlyMemory<byte> bytes, int longestSide)
    {
        var format = FormatOf(bytes.Span);
        if (format is not (Png or Jpeg or WebP))
            return null;
        if (format == Png && !PngChunks.ReachesEnd(bytes.Span))
            throw Bad("the PNG image was cut short or is corrupt");
        using var codec = Open(format == Png ? PngChunks.WithoutText(bytes, keepExif: true).Span : bytes.Span);
        using var whole = Decode(codec);
        using var smaller = Shrink(whole, longestSide);
        using var upright = Turn(smaller ?? whole, codec.EncodedOrigin);
        var image = upright ?? smaller ?? whole;
        return new CheckedImage(EncodePng(image), image.Width, image.Height);
    }

    /// <summary>Null when it is small enough.</summary>
    private static SKBitmap? Shrink(SKBitmap bitmap, int longestSide)
    {
        var scale = Math.Min(1.0, (double)longestSide / Math.Max(bitmap.Width, bitmap.Height));
        var size = new SKSizeI(Math.Max(1, (int)(bitmap.Width * scale)), Math.Max(1, (int)(bitmap.Height * scale)));
        return scale < 1 ? bitmap.Resize(size, new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Nearest)) : null;
    }

    /// <summary>Turns an image as its EXIF says (EXIF 2.3, tag 274). Null when it is upright.</summary>
    private static SKBitmap? Turn(SKBitmap bitmap, SKEncodedOrigin origin)
    {
        if (origin == SKEncodedOrigin.TopLeft)
            return null;
        var (width, height) = origin < SKEncodedOrigin.LeftTop ? (bitmap.Width, bitmap.Height) : (bitmap.Height, bitmap.Width);
        var turned = new SKBitmap(bitmap.Info.WithSize(width, height).WithAlphaType(
            bitmap.AlphaType == SKAlphaType.Opaque ? SKAlphaType.Opaque : SKAlphaType.Premul));
        using var canvas = new SKCanvas(turned);
        canvas.SetMatrix(origin switch
        {
            SKEncodedOrigin.TopRight => new SKMatrix(-1, 0, width, 0, 1, 0, 0, 0, 1),
            SKEncodedOrigin.BottomRight => new SKMatrix(-1, 0, width, 0, -1, height, 0, 0, 1),
            SKEncodedOrigin.BottomLeft => new SKMatrix(1, 0, 0, 0, -1, height, 0, 0, 1),
            SKEncodedOrigin.LeftTop => new SKMatrix(0, 1, 0, 1, 0, 0, 0, 0, 1),
            SKEncodedOrigin.RightTop => new SKMatrix(0, -1, width, 1, 0, 0, 0, 0, 1),
            SKEncodedOrigin.RightBottom => new SKMatrix(0, -1, width, -1, 0, height, 0, 0, 1),
            _ => new SKMatrix(0, 1, 0, -1, 0, height, 0, 0, 1),
        });
        canvas.DrawBitmap(bitmap, 0, 0, SKSamplingOptions.Default);
        canvas.Flush();
        return turned;
    }
}
