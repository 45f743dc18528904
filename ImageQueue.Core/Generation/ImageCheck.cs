using System.Buffers.Binary;
using System.Runtime.InteropServices;
using ImageQueue.Core.Forge;
using SkiaSharp;

namespace ImageQueue.Core.Generation;

/// <summary>
/// Proves that bytes are a whole image, by decoding every pixel, and turns what is not PNG into PNG. What a server calls
/// its answer does not count, only its first bytes.
/// </summary>
/// <remarks>PNG has checksums, so any changed bit is found. JPEG and most of WebP have none: there, only what breaks decoding is.</remarks>
internal static class ImageCheck
{
    /// <summary>Pixels; the largest image that may be asked for has 4 million, so what is beyond is a mistake or an attack.</summary>
    public const long MaxPixels = 64_000_000;

    private static ReadOnlySpan<byte> PngSignature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    /// <summary>The image as PNG (the very bytes, when they are PNG) and its size in pixels.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.BadImage"/>: not a PNG, JPEG or WebP, cut short, corrupt or far too
    /// large.</exception>
    public static CheckedImage ToPng(ReadOnlyMemory<byte> bytes)
    {
        var isPng = bytes.Span.StartsWith(PngSignature);
        if (!isPng && !IsJpeg(bytes.Span) && !IsWebP(bytes.Span))
        {
            throw Bad(bytes.IsEmpty ? "the image is empty" : "the bytes are not a PNG, JPEG or WebP image");
        }

        if (isPng && !ReachesPngEnd(bytes.Span))
            throw Bad("the PNG image was cut short or is corrupt");

        using var codec = Open(bytes.Span);
        var (width, height) = (codec.Info.Width, codec.Info.Height);
        if (isPng)
        {
            DecodeRows(codec);
            return new CheckedImage(bytes, width, height);
        }

        using var bitmap = Decode(codec);
        if (IsBlack(bitmap.GetPixelSpan()))
            throw Black();
        return new CheckedImage(EncodePng(bitmap), width, height);
    }

    /// <summary>The image decoded and made smaller, as JPEG; null when it is no whole image.</summary>
    /// <param name="bytes">PNG, JPEG or WebP.</param>
    /// <param name="longestSide">Pixels, at most.</param>
    public static byte[]? ToSmallJpeg(ReadOnlyMemory<byte> bytes, int longestSide)
    {
        try
        {
            using var codec = Open(bytes.Span);
            using var bitmap = Decode(codec);
            if (Math.Max(bitmap.Width, bitmap.Height) <= longestSide && IsJpeg(bytes.Span))
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
        using var codec = Open(bytes.Span);
        using var bitmap = Decode(codec);
        return EncodeSmall(bitmap, longestSide, SKEncodedImageFormat.Webp, 80) ?? throw Bad("the image could not be made smaller");
    }

    private static byte[]? EncodeSmall(SKBitmap bitmap, int longestSide, SKEncodedImageFormat format, int quality)
    {
        var scale = Math.Min(1.0, (double)longestSide / Math.Max(bitmap.Width, bitmap.Height));
        var size = new SKSizeI(Math.Max(1, (int)(bitmap.Width * scale)), Math.Max(1, (int)(bitmap.Height * scale)));
        using var smaller = scale < 1
            ? bitmap.Resize(size, new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Nearest))
            : null;
        using var encoded = (smaller ?? bitmap).Encode(format, quality);
        return encoded?.ToArray();
    }

    private static SKCodec Open(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
            throw Bad("the image is empty");

        using var data = SKData.CreateCopy(bytes);
        var codec = SKCodec.Create(data) ?? throw Bad("the image does not decode");
        var pixels = (long)codec.Info.Width * codec.Info.Height;
        if (pixels is > 0 and <= MaxPixels)
            return codec;

        codec.Dispose();
        throw Bad("the image is larger than 64 megapixels");
    }

    /// <summary>Decodes all rows through a small buffer: the pixels of a PNG are only looked at, never kept.</summary>
    private static void DecodeRows(SKCodec codec)
    {
        var info = PixelsOf(codec);
        var isBlack = true;
        if (codec.StartScanlineDecode(info) != SKCodecResult.Success)
        {
            using var whole = Decode(codec);
            if (IsBlack(whole.GetPixelSpan()))
                throw Black();
            return;
        }

        var rowsAtOnce = Math.Clamp(256 * 1024 / info.RowBytes, 1, info.Height);
        using var buffer = new SKBitmap(info.WithSize(info.Width, rowsAtOnce));
        for (var row = 0; row < info.Height; row += rowsAtOnce)
        {
            var wanted = Math.Min(rowsAtOnce, info.Height - row);
            if (codec.GetScanlines(buffer.GetPixels(), wanted, info.RowBytes) != wanted)
            {
                throw Bad("the PNG image was cut short or is corrupt");
            }

            isBlack = isBlack && IsBlack(buffer.GetPixelSpan()[..(wanted * info.RowBytes)]);
        }

        if (isBlack)
            throw Black();
    }

    /// <summary>
    /// Whether no pixel has any colour. No generating is exactly that; it is what a model's numbers that became NaN come out as.
    /// </summary>
    private static bool IsBlack(ReadOnlySpan<byte> rgba)
    {
        foreach (var pixel in MemoryMarshal.Cast<byte, uint>(rgba))
        {
            if ((pixel & (BitConverter.IsLittleEndian ? 0x00FFFFFFu : 0xFFFFFF00u)) != 0)
                return false;
        }

        return true;
    }

    private static SKBitmap Decode(SKCodec codec)
    {
        var bitmap = new SKBitmap();
        var info = PixelsOf(codec);
        if (bitmap.TryAllocPixels(info) && codec.GetPixels(info, bitmap.GetPixels()) is var result && result == SKCodecResult.Success)
        {
            return bitmap;
        }

        bitmap.Dispose();
        throw Bad("the image was cut short or is corrupt");
    }

    private static SKImageInfo PixelsOf(SKCodec codec) => new(
        codec.Info.Width,
        codec.Info.Height,
        SKColorType.Rgba8888,
        codec.Info.AlphaType == SKAlphaType.Opaque ? SKAlphaType.Opaque : SKAlphaType.Unpremul,
        SKColorSpace.CreateSrgb());

    private static byte[] EncodePng(SKBitmap bitmap)
    {
        using var pixels = bitmap.PeekPixels();

        // A third of the default's time for 6 % more bytes: the GPU's next image may be waiting for this one.
        using var png = pixels.Encode(new SKPngEncoderOptions(SKPngEncoderFilterFlags.Avg, 2))
            ?? throw Bad("the image could not be converted to PNG");
        return png.ToArray();
    }

    private static bool IsJpeg(ReadOnlySpan<byte> bytes) => bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]);

    private static bool IsWebP(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 12 && bytes.StartsWith("RIFF"u8) && bytes[8..12].SequenceEqual("WEBP"u8);

    /// <summary>
    /// Whether the chunks lead to IEND within the bytes. Decoding stops at the last pixel and would not miss what comes
    /// after it. PNG specification, section 5.3.
    /// </summary>
    private static bool ReachesPngEnd(ReadOnlySpan<byte> bytes)
    {
        var rest = bytes[PngSignature.Length..];
        while (rest.Length >= 12)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(rest);
            if (length > rest.Length - 12)
                return false;
            if (rest.Slice(4, 4).SequenceEqual("IEND"u8))
                return true;
            rest = rest[(12 + (int)length)..];
        }

        return false;
    }

    private static ForgeException Black() => new(
        ForgeFailure.BlackImage, "the image is all black: the model's numbers became NaN (--no-half-vae, or another VAE, helps)");

    private static ForgeException Bad(string reason) => new(ForgeFailure.BadImage, reason);
}

/// <summary>An image that decodes.</summary>
/// <param name="Png">Its bytes, as PNG.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
internal sealed record CheckedImage(ReadOnlyMemory<byte> Png, int Width, int Height);
