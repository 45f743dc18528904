using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// Turns an image towards a new scene: strokes that take their colours from the image keep its composition, and the new scene shows
/// through the more, the greater the strength is. Strength 0 is the image itself, 1 the new scene.
/// </summary>
internal static class SceneVariation
{
    private const int MostStrokes = 9000;

    /// <summary>Draws the variation over the new scene.</summary>
    /// <param name="scene">The new scene; holds the variation afterwards.</param>
    /// <param name="start">The image to start from, of the scene's size.</param>
    /// <param name="strength">0..1.</param>
    /// <param name="dice">What makes one variation differ from another.</param>
    public static void Draw(SKSurface scene, SKSurface start, double strength, Dice dice)
    {
        var (s, size) = ((float)Math.Clamp(strength, 0, 1), scene.Canvas.DeviceClipBounds.Size);
        using var next = scene.Snapshot();
        using var before = start.Snapshot();
        using var colours = before.PeekPixels();
        using var brush = new SKPaint { IsAntialias = true, StrokeCap = SKStrokeCap.Round };
        scene.Canvas.DrawImage(before, 0, 0, SKSamplingOptions.Default);
        for (var i = 0; i < (int)(MostStrokes * s); i++)
        {
            var (x, y) = (dice.Unit() * size.Width, dice.Unit() * size.Height);
            var (length, turn) = (size.Height * s * dice.Between(0.01f, 0.05f), dice.Between(-0.5f, 0.5f));
            brush.Color = colours.GetPixelColor((int)x, (int)y).WithAlpha(200);
            brush.StrokeWidth = size.Height * dice.Between(0.002f, 0.004f + (0.012f * s));
            scene.Canvas.DrawLine(x - length, y - (length * turn), x + length, y + (length * turn), brush);
        }

        brush.Color = SKColors.White.WithAlpha((byte)MathF.Round(255 * s * s));
        scene.Canvas.DrawImage(next, 0, 0, SKSamplingOptions.Default, brush);
    }

    /// <summary>Keeps the start wherever its weight is 0, to the pixel.</summary>
    /// <param name="scene">What was generated; holds the result afterwards.</param>
    /// <param name="start">The image to start from, of the scene's size.</param>
    /// <param name="weights">How much of each pixel is new, 0 to 255.</param>
    public static void Keep(SKSurface scene, SKSurface start, ReadOnlySpan<byte> weights)
    {
        using var result = scene.PeekPixels();
        using var kept = start.PeekPixels();
        var to = result.GetPixelSpan<byte>();
        var from = kept.GetPixelSpan<byte>();
        for (var i = 0; i < to.Length; i++)
        {
            var weight = weights[i / 4];
            to[i] = (byte)(((to[i] * weight) + (from[i] * (255 - weight)) + 127) / 255);
        }
    }
}
