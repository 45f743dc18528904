using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// Turns prompt and seed into an encoded image: a landscape (<see cref="Scene"/>), the prompt written on it, and the word SIMULATED;
/// with an image to start from, a variation of that (<see cref="SceneVariation"/>).
/// </summary>
internal static class SceneRenderer
{
    private const string Stamp = "SIMULATED";
    private const int MostLines = 4;
    private const byte Shade = 130;

    // A machine may have no fonts (and the native library without dependencies cannot look for them): bring one.
    private static SKTypeface Typeface { get; } = LoadTypeface();

    /// <param name="prompt">What to write on the image; with the seed, what it shows.</param>
    /// <param name="seed">Another seed, another image.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    /// <param name="finished">1 for a finished image; less gives a coarse one, as an interrupted run does.</param>
    /// <param name="format">PNG, JPEG or WebP.</param>
    /// <param name="start">What to vary; null: a new scene.</param>
    public static byte[] Draw(
        string prompt, long seed, int width, int height, double finished = 1,
        SKEncodedImageFormat format = SKEncodedImageFormat.Png, SceneStart? start = null)
    {
        using var surface = NewSurface(width, height);
        DrawScene(surface.Canvas, prompt, seed, width, height, finished);
        if (start is null)
            WriteOn(surface.Canvas, prompt, width, height);
        else
            Vary(surface, start, prompt, seed, width, height, start.Strength > 0);
        return Encode(surface, format);
    }

    /// <summary>A live preview: an eighth of the size, sharper as sampling proceeds.</summary>
    public static byte[] Preview(string prompt, long seed, int width, int height, double finished, SceneStart? start = null)
    {
        var scale = Math.Min(1, Math.Max(1 / 8d, 64d / Math.Max(width, height)));
        var (w, h) = ((int)Math.Max(1, width * scale), (int)Math.Max(1, height * scale));
        using var surface = NewSurface(w, h);
        DrawScene(surface.Canvas, prompt, seed, w, h, Math.Min(finished, 0.99));
        if (start is not null)
            Vary(surface, start with { Blur = start.Blur * (float)scale }, prompt, seed, w, h, isWritten: false);
        return Encode(surface, SKEncodedImageFormat.Jpeg);
    }

    /// <summary>The image resampled to another size, as an upscaler does.</summary>
    public static byte[] Resample(SimulatedSource image, int width, int height, bool isNearest, SKEncodedImageFormat format)
    {
        var sampling = isNearest ? new SKSamplingOptions(SKFilterMode.Nearest) : new SKSamplingOptions(SKCubicResampler.Mitchell);
        using var surface = image.DrawImage(width, height, sampling);
        return Encode(surface, format);
    }

    /// <summary>All black: a model's numbers that became NaN.</summary>
    public static byte[] Black(int width, int height, SKEncodedImageFormat format)
    {
        using var surface = NewSurface(width, height);
        surface.Canvas.Clear(SKColors.Black);
        return Encode(surface, format);
    }

    /// <summary>Forge's grid: several images of one size in one, for <c>return_grid</c>.</summary>
    public static byte[] Grid(IReadOnlyList<byte[]> images, int width, int height)
    {
        var columns = (int)Math.Ceiling(Math.Sqrt(images.Count));
        using var surface = NewSurface(width * columns, height * ((images.Count + columns - 1) / columns));
        for (var i = 0; i < images.Count; i++)
        {
            using var image = SKBitmap.Decode(images[i]);
            surface.Canvas.DrawBitmap(image, i % columns * width, i / columns * height, SKSamplingOptions.Default);
        }

        return Encode(surface, SKEncodedImageFormat.Png);
    }

    /// <summary>An unfinished one is drawn small and blown up: blocks of 32 pixels at the start, of 2 near the end.</summary>
    private static void DrawScene(SKCanvas canvas, string prompt, long seed, int width, int height, double finished)
    {
        var block = finished >= 1 ? 1 : 1 << (int)Math.Ceiling(1 + (4 * (1 - Math.Clamp(finished, 0, 1))));
        var (w, h) = (Math.Max(2, width / block), Math.Max(2, height / block));
        using var coarse = block == 1 ? null : NewSurface(w, h);
        var target = coarse?.Canvas ?? canvas;
        target.Save();
        target.Scale(h);
        using (var scene = new Scene(target, (float)w / h, new Dice(prompt, seed)))
            scene.Draw();
        target.Restore();
        if (coarse is null)
            return;
        using var image = coarse.Snapshot();
        canvas.DrawImage(image, new SKRect(0, 0, width, height), new SKSamplingOptions(SKFilterMode.Linear));
    }

    private static void Vary(SKSurface surface, SceneStart start, string prompt, long seed, int width, int height, bool isWritten)
    {
        using var image = start.Source.DrawImage(width, height, new SKSamplingOptions(SKCubicResampler.Mitchell));
        // Only what the masked part held is a composition to keep; with another fill it starts from noise.
        if (start.KeepsContent)
            SceneVariation.Draw(surface, image, start.Strength, new Dice(prompt, seed));
        if (isWritten)
            WriteOn(surface.Canvas, prompt, width, height, start.Strength < 1 ? (byte)250 : Shade);
        if (start.Source.Weights(width, height, start.Blur) is { } weights)
            SceneVariation.Keep(surface, image, weights);
    }

    /// <param name="alpha">How dark the ground of the words is: over older words it must cover those.</param>
    private static void WriteOn(SKCanvas canvas, string prompt, int width, int height, byte alpha = Shade)
    {
        using var brush = new SKPaint { IsAntialias = true, Color = SKColors.White };
        using var font = new SKFont(Typeface, Math.Max(8, Math.Min(width, height) / 28f)) { Subpixel = true };
        var margin = Math.Max(2f, Math.Min(width, height) * 0.035f);
        var lines = Wrap(Writable(prompt, font), font, width - (2 * margin));
        var (lineHeight, top) = (font.Size * 1.32f, height - margin - (lines.Count * font.Size * 1.32f));
        using (var shade = new SKPaint { Color = SKColors.Black.WithAlpha(alpha) })
        {
            canvas.DrawRect(0, top - margin, width, height, shade);
            canvas.DrawRect(0, 0, width, font.Size + margin, shade);
        }

        canvas.DrawText(Stamp, width - margin, font.Size + (margin * 0.3f), SKTextAlign.Right, font, brush);
        for (var i = 0; i < lines.Count; i++)
            canvas.DrawText(lines[i], margin, top + (i * lineHeight) + font.Size, SKTextAlign.Left, font, brush);
    }

    /// <summary>The prompt without what the font has no shape for (emoji, CJK): boxes would look like a fault of ours.</summary>
    private static string Writable(string prompt, SKFont font)
    {
        var text = new StringBuilder();
        foreach (var rune in prompt.EnumerateRunes().Take(1000))
        {
            if (Rune.IsWhiteSpace(rune) || Rune.IsControl(rune))
                text.Append(' ');
            else if (font.ContainsGlyph(rune.Value))
                text.Append(rune);
        }

        return text.ToString().Trim();
    }

    /// <summary>At most four lines, broken at blanks where there are any; what does not fit ends in an ellipsis.</summary>
    private static List<string> Wrap(string text, SKFont font, float width)
    {
        var lines = new List<string>();
        while (text.Length > 0 && lines.Count < MostLines)
        {
            var fits = Math.Max(1, font.BreakText(text, width)); // At least one, or a narrow image would never end.
            var blank = fits < text.Length ? text.LastIndexOf(' ', fits) : -1;
            var line = text[..(blank > 0 ? blank : fits)];
            text = text[line.Length..].TrimStart();
            lines.Add(text.Length > 0 && lines.Count == MostLines - 1 ? line[..^1] + "…" : line);
        }

        return lines;
    }

    private static SKSurface NewSurface(int width, int height) =>
        SKSurface.Create(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque));

    private static byte[] Encode(SKSurface surface, SKEncodedImageFormat format)
    {
        using var pixels = surface.PeekPixels();

        // Level 1 is several times faster than the default and hardly larger on gradients.
        using var data = format == SKEncodedImageFormat.Png
            ? pixels.Encode(new SKPngEncoderOptions(SKPngEncoderFilterFlags.Sub, 1))
            : pixels.Encode(format, 80);
        return data?.ToArray() ?? throw new InvalidOperationException($"Skia could not encode an image as {format}.");
    }

    private static SKTypeface LoadTypeface()
    {
        using var stream = typeof(SceneRenderer).Assembly.GetManifestResourceStream("ImageQueue.Web.Simulator.DejaVuSerifCondensed.ttf")
            ?? throw new InvalidOperationException("The simulator's font is not embedded in ImageQueue.Web.");
        using var data = SKData.Create(stream);
        return SKTypeface.FromData(data);
    }
}

/// <summary>What a variation starts from.</summary>
/// <param name="Source">The image, and its mask.</param>
/// <param name="Strength">0..1: how far to leave it.</param>
/// <param name="Blur">Pixels by which the mask is softened.</param>
/// <param name="KeepsContent">Whether the masked part starts from what it held.</param>
internal sealed record SceneStart(SimulatedSource Source, double Strength, float Blur, bool KeepsContent);
