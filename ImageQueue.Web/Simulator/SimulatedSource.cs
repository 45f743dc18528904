using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>The image of an img2img or upscale request, and the mask of the part that is generated anew.</summary>
/// <param name="Image">Encoded: previews may still be drawn from it when the task has ended, so nothing here is to be disposed.</param>
/// <param name="Mask">Encoded; white is generated anew. Null: everything is.</param>
/// <param name="Width">Pixels of the image.</param>
/// <param name="Height">Pixels of the image.</param>
internal sealed record SimulatedSource(byte[] Image, byte[]? Mask, int Width, int Height)
{
    /// <returns>The source, or Forge's refusal; neither for a request without one.</returns>
    /// <remarks>Source: <c>modules/api/api.py</c>, img2imgapi and decode_base64_to_image.</remarks>
    public static (SimulatedSource? Source, SimulatedAnswer? Refusal) Read(SimulatorRequest request, SimulatorProfile profile)
    {
        if (request.Call == SimulatorCall.TextToImage)
            return (null, null);
        if (request.Image is null)
            return (null, profile.Refusal(StatusCodes.Status404NotFound, "Init image not found"));
        var image = FromBase64(request.Image);
        var mask = request.Mask is { Length: > 0 } text ? FromBase64(text) : null;
        using var decoded = Decode(image);
        using var decodedMask = Decode(mask);
        return decoded is null || (request.Mask is { Length: > 0 } && decodedMask is null)
            ? (null, profile.Refusal(StatusCodes.Status500InternalServerError, "Invalid encoded image"))
            : (new(image, mask, decoded.Width, decoded.Height), null);
    }

    /// <summary>The image at this size, opaque: it is stretched, as by <c>resize_mode</c> 0.</summary>
    public SKSurface DrawImage(int width, int height, SKSamplingOptions sampling) =>
        Draw(Image, width, height, SKColorType.Rgba8888, SKColors.White, sampling); // Forge's img2img_background_color is white.

    /// <summary>How much of each pixel is generated anew, 0 to 255: the mask, softened on its inner side alone.</summary>
    /// <remarks>
    /// Forge softens both sides, so that a few pixels outside change too; here none does, and what a client does with a mask can be seen.
    /// </remarks>
    public byte[]? Weights(int width, int height, float blur)
    {
        if (Mask is null)
            return null;
        using var mask = Draw(Mask, width, height, SKColorType.Gray8, SKColors.Black, new SKSamplingOptions(SKFilterMode.Linear));
        using var sharp = mask.PeekPixels();
        var weights = sharp.GetPixelSpan<byte>().ToArray();
        if (blur <= 0)
            return weights;
        using var soft = SKSurface.Create(new SKImageInfo(width, height, SKColorType.Gray8, SKAlphaType.Opaque));
        using var image = mask.Snapshot();
        using var filter = SKImageFilter.CreateBlur(blur, blur, SKShaderTileMode.Clamp);
        using var brush = new SKPaint { ImageFilter = filter };
        soft.Canvas.DrawImage(image, 0, 0, SKSamplingOptions.Default, brush);
        using var softened = soft.PeekPixels();
        var pixels = softened.GetPixelSpan<byte>();
        for (var i = 0; i < weights.Length; i++)
            weights[i] = (byte)Math.Min(weights[i], Math.Max(0, (pixels[i] * 2) - 255));
        return weights;
    }

    private static SKSurface Draw(
        byte[] encoded, int width, int height, SKColorType colours, SKColor background, SKSamplingOptions sampling)
    {
        using var decoded = Decode(encoded) ?? throw new InvalidOperationException("An image that was decoded before cannot be decoded.");
        using var image = SKImage.FromBitmap(decoded);
        var surface = SKSurface.Create(new SKImageInfo(width, height, colours, SKAlphaType.Opaque));
        surface.Canvas.Clear(background);
        var isSameSize = (width, height) == (decoded.Width, decoded.Height);
        surface.Canvas.DrawImage(image, new SKRect(0, 0, width, height), isSameSize ? SKSamplingOptions.Default : sampling);
        return surface;
    }

    private static byte[] FromBase64(string text)
    {
        var data = text.StartsWith("data:image/", StringComparison.Ordinal) ? text.IndexOf(',', StringComparison.Ordinal) + 1 : 0;
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64Chars(text.AsSpan(data), bytes, out var length) ? bytes[..length] : [];
    }

    private static SKBitmap? Decode(byte[]? encoded)
    {
        using var data = SKData.CreateCopy(encoded ?? []);
        using var codec = SKCodec.Create(data);
        if (codec is null || (long)codec.Info.Width * codec.Info.Height > ForgeSimulator.MostPixels)
            return null;
        var bitmap = new SKBitmap(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Premul);
        if (codec.GetPixels(bitmap.Info, bitmap.GetPixels()) == SKCodecResult.Success)
            return bitmap;
        bitmap.Dispose();
        return null;
    }
}
