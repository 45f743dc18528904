using System.Buffers.Binary;
using System.Runtime.InteropServices;
using ImageQueue.Core.Forge;
using SkiaSharp;

namespace ImageQueue.Core.Generation;

/// <summary>Proves that bytes are a whole image, by decoding every pixel, and converts other formats to PNG.</summary>
/// <remarks>PNG has checksums, so any changed bit is found. JPEG and most of WebP have none: there, only what breaks decoding is.</remarks>
internal static class ImageCheck
{
    /// <summary>Pixels; the largest image that can be requested has 4 million, so more is a mistake or an attack.</summary>
    public const long MaxPixels = 64_000_000;

    private const string Png = "PNG";
    private const string Jpeg = "JPEG";
    private const string WebP = "WebP";

    /// <summary>The image as PNG and its size in pixels. A PNG keeps its bytes, except for metadata that is removed.</summary>
    /// <param name="parameters">The text of an image that is converted, to keep as Forge's <c>parameters</c>; null for none.</param>
    /// <exception cref="ForgeException">
    /// <see cref="ForgeFailure.BadImage"/>: no image, a format that is not decoded here, cut short, corrupt or far too large.
    /// <see cref="ForgeFailure.BlackImage"/>: all black or all transparent.
    /// </exception>
    public static CheckedImage ToPng(ReadOnlyMemory<byte> bytes, ImageMetadata metadata = ImageMetadata.Remove, string? parameters = null)
    {
        var format = FormatOf(bytes.Span)
            ?? throw Bad(bytes.IsEmpty ? "the image is empty" : "the bytes are not a PNG, JPEG or WebP image");
        if (format != Png)
            return Convert(bytes, format, metadata == ImageMetadata.Keep ? parameters : null);
        if (!PngChunks.ReachesEnd(bytes.Span))
            throw Bad("the PNG image was cut short or is corrupt");

        var bare = PngChunks.WithoutText(bytes);
        using var codec = Open(bare.Span);
        DecodeRows(codec);
        return new CheckedImage(metadata == ImageMetadata.Keep ? bytes : bare, codec.Info.Width, codec.Info.Height);
    }

    /// <summary>The first image in the bytes as PNG: upright, in sRGB, without metadata.</summary>
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

    /// <summary>The image decoded and made smaller, as JPEG; null when it is no whole image.</summary>
    /// <param name="bytes">PNG, JPEG or WebP.</param>
    /// <param name="longestSide">Pixels, at most.</param>
    public static byte[]? ToSmallJpeg(ReadOnlyMemory<byte> bytes, int longestSide)
    {
        try
        {
            using var codec = Open(FormatOf(bytes.Span) == Png ? PngChunks.WithoutText(bytes).Span : bytes.Span);
            using var bitmap = Decode(codec);
            if (Math.Max(bitmap.Width, bitmap.Height) <= longestSide && FormatOf(bytes.Span) == Jpeg)
                return bytes.ToArray(); // As it should be already, and it decodes.
            return EncodeSmall(bitmap, longestSide, SKEncodedImageFormat.Jpeg, 75);
        }
        catch (ForgeException)
        {
            return null;
        }
    }

    /// <summary>The image made smaller, as WebP.</summary>
    /// <param name="bytes">PNG, JPEG or WebP.</param>
    /// <param name="longestSide">Pixels, at most; a smaller image keeps its size.</param>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.BadImage"/>: it does not decode.</exception>
    public static byte[] ToSmallWebP(ReadOnlyMemory<byte> bytes, int longestSide)
    {
        using var codec = Open(FormatOf(bytes.Span) == Png ? PngChunks.WithoutText(bytes).Span : bytes.Span);
        using var bitmap = Decode(codec);
        return EncodeSmall(bitmap, longestSide, SKEncodedImageFormat.Webp, 80) ?? throw Bad("the image could not be made smaller");
    }

    private static CheckedImage Convert(ReadOnlyMemory<byte> bytes, string format, string? parameters)
    {
        using var codec = Open(bytes.Span, format);
        using var bitmap = Decode(codec);
        if (new Blankness().Add(bitmap.GetPixelSpan()).Reason is { } blank)
            throw new ForgeException(ForgeFailure.BlackImage, blank);
        ReadOnlyMemory<byte> png = EncodePng(bitmap);
        return new CheckedImage(
            parameters is null ? png : PngChunks.WithText(png.Span, "parameters", parameters), codec.Info.Width, codec.Info.Height);
    }

    private static byte[]? EncodeSmall(SKBitmap bitmap, int longestSide, SKEncodedImageFormat format, int quality)
    {
        using var smaller = Shrink(bitmap, longestSide);
        using var encoded = (smaller ?? bitmap).Encode(format, quality);
        return encoded?.ToArray();
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

    /// <param name="format">Null: as it is.</param>
    private static SKCodec Open(ReadOnlySpan<byte> bytes, string? format = null)
    {
        if (bytes.IsEmpty)
            throw Bad("the image is empty");

        using var data = SKData.CreateCopy(bytes);
        var codec = SKCodec.Create(data) ?? throw Bad(format is null or Jpeg or WebP
            ? "the image does not decode"
            : $"the image is {format}, which is not decoded here; set the backend's samples_format to png");
        var pixels = (long)codec.Info.Width * codec.Info.Height;
        if (pixels is > 0 and <= MaxPixels)
            return codec;

        codec.Dispose();
        throw Bad("the image is larger than 64 megapixels");
    }

    /// <summary>Decodes all rows through a small buffer: the pixels of a PNG are only read, never kept.</summary>
    private static void DecodeRows(SKCodec codec)
    {
        var info = PixelsOf(codec);
        var blankness = new Blankness();
        if (codec.StartScanlineDecode(info) != SKCodecResult.Success)
        {
            using var whole = Decode(codec);
            blankness = blankness.Add(whole.GetPixelSpan());
        }
        else
        {
            var rowsAtOnce = Math.Clamp(256 * 1024 / info.RowBytes, 1, info.Height);
            using var buffer = new SKBitmap(info.WithSize(info.Width, rowsAtOnce));
            for (var row = 0; row < info.Height; row += rowsAtOnce)
            {
                var count = Math.Min(rowsAtOnce, info.Height - row);
                if (codec.GetScanlines(buffer.GetPixels(), count, info.RowBytes) != count)
                    throw Bad("the PNG image was cut short or is corrupt");
                blankness = blankness.Add(buffer.GetPixelSpan()[..(count * info.RowBytes)]);
            }
        }

        if (blankness.Reason is { } blank)
            throw new ForgeException(ForgeFailure.BlackImage, blank);
    }

    private static SKBitmap Decode(SKCodec codec)
    {
        var bitmap = new SKBitmap();
        var info = PixelsOf(codec);
        if (bitmap.TryAllocPixels(info) && codec.GetPixels(info, bitmap.GetPixels()) is var result && result == SKCodecResult.Success)
            return bitmap;

        bitmap.Dispose();
        throw Bad("the image was cut short or is corrupt");
    }

    private static SKImageInfo PixelsOf(SKCodec codec) => new(
        codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888,
        codec.Info.AlphaType == SKAlphaType.Opaque ? SKAlphaType.Opaque : SKAlphaType.Unpremul, SKColorSpace.CreateSrgb());

    private static byte[] EncodePng(SKBitmap bitmap)
    {
        using var pixels = bitmap.PeekPixels();

        // A third of the default's time for 6 % more bytes: the GPU's next image may wait for this one.
        using var png = pixels.Encode(new SKPngEncoderOptions(SKPngEncoderFilterFlags.Avg, 2))
            ?? throw Bad("the image could not be converted to PNG");
        return png.ToArray();
    }

    /// <summary>By the first bytes, whatever the backend says; null when they are of no known format.</summary>
    private static string? FormatOf(ReadOnlySpan<byte> bytes) => bytes switch
    {
        _ when bytes.StartsWith(PngChunks.Signature) => Png,
        [0xFF, 0xD8, 0xFF, ..] => Jpeg,
        { Length: >= 12 } when bytes.StartsWith("RIFF"u8) && bytes[8..12].SequenceEqual("WEBP"u8) => WebP,
        _ when bytes.StartsWith("GIF8"u8) => "GIF",
        _ when bytes.StartsWith("BM"u8) => "BMP",
        _ when bytes.StartsWith("II*\0"u8) || bytes.StartsWith("MM\0*"u8) => "TIFF",
        _ when bytes is [0xFF, 0x0A, ..] || bytes.StartsWith("\0\0\0\fJXL "u8) => "JPEG XL",
        { Length: >= 12 } when bytes[4..8].SequenceEqual("ftyp"u8) => bytes[8..11].SequenceEqual("avi"u8) ? "AVIF" : "HEIF",
        _ => null,
    };

    private static ForgeException Bad(string reason) => new(ForgeFailure.BadImage, reason);

    /// <summary>Whether an image is all black or all transparent: no generated image is, whatever its shapes.</summary>
    private readonly record struct Blankness()
    {
        private const uint Opaque = 0xFF000000;

        private bool IsBlack { get; init; } = true;

        private bool IsTransparent { get; init; } = true;

        public string? Reason =>
            IsBlack
                ? "the image is all black: the model's numbers became NaN (--no-half-vae, or another VAE, helps), "
                    + "or a content filter replaced it"
            : IsTransparent ? "the image is all transparent"
            : null;

        public Blankness Add(ReadOnlySpan<byte> rgba)
        {
            var (isBlack, isTransparent) = (IsBlack, IsTransparent);
            foreach (var pixel in MemoryMarshal.Cast<byte, uint>(rgba))
            {
                var value = BitConverter.IsLittleEndian ? pixel : BinaryPrimitives.ReverseEndianness(pixel);
                isBlack &= value == Opaque;
                isTransparent &= (value & Opaque) == 0;
                if (!isBlack && !isTransparent)
                    break;
            }

            return new Blankness { IsBlack = isBlack, IsTransparent = isTransparent };
        }
    }
}

/// <summary>An image that decodes.</summary>
/// <param name="Png">Its bytes, as PNG.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
internal sealed record CheckedImage(ReadOnlyMemory<byte> Png, int Width, int Height);
