using ImageQueue.Core.Generation;
using SkiaSharp;

namespace ImageQueue.Web.Compatibility;

/// <summary>Stored images as other APIs want them.</summary>
internal static class ImageFormats
{
    private const int DefaultQuality = 100;

    /// <summary>The bytes of a complete message's image: PNG.</summary>
    /// <exception cref="Errors.ProblemException">The message has no image.</exception>
    public static async Task<byte[]> ReadAsync(this ImageLocator images, Message message, CancellationToken cancellationToken)
    {
        if (message.Status != MessageStatus.Complete || await images.FindAsync(message.JobId ?? "", cancellationToken) is not { } path)
            throw FailedImage.Of(message);
        return await File.ReadAllBytesAsync(path, cancellationToken);
    }

    /// <summary>An image in another format.</summary>
    /// <param name="image">PNG or JPEG, made by this program.</param>
    /// <param name="format">png, jpeg or webp.</param>
    /// <param name="quality">0..100; null: 100. Of jpeg and webp.</param>
    public static byte[] Convert(byte[] image, string format, int? quality)
    {
        if (format == "png" && image is [0x89, (byte)'P', ..])
            return image;
        using var bitmap = SKBitmap.Decode(image);
        using var encoded = bitmap.Encode(
            format switch
            {
                "jpeg" => SKEncodedImageFormat.Jpeg,
                "webp" => SKEncodedImageFormat.Webp,
                _ => SKEncodedImageFormat.Png,
            },
            quality ?? DefaultQuality);
        return encoded.ToArray();
    }
}
