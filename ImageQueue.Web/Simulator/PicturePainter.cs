using System.Runtime.InteropServices;
using System.Text;
using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>Turns prompt and seed into an encoded picture: the scene, the prompt written on it, and the word SIMULATED.</summary>
internal static class PicturePainter
{
    private const string Stamp = "SIMULATED";
    private const int MostLines = 4;

    // A machine may have no fonts at all (and the native library without dependencies could not look for them): bring one.
    private static readonly SKTypeface s_typeface = LoadTypeface();

    /// <summary>Paints and encodes.</summary>
    /// <param name="prompt">What to write on the picture; with the seed, what it shows.</param>
    /// <param name="seed">Another seed, another picture.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    /// <param name="finished">1 for a finished picture; less gives a coarse and noisy one, as an interrupted run does.</param>
    /// <param name="format">PNG, JPEG or WebP.</param>
    public static byte[] Paint(string prompt, long seed, int width, int height, double finished = 1, SKEncodedImageFormat format = SKEncodedImageFormat.Png)
    {
        using var surface = NewSurface(width, height);
        PaintScene(surface.Canvas, prompt, seed, width, height, finished);
        WriteOn(surface.Canvas, prompt, width, height);
        return Encode(surface, format);
    }

    /// <summary>A small picture of how far the painting is, an eighth of the size, sharper as it goes on.</summary>
    public static byte[] Preview(string prompt, long seed, int width, int height, double finished, SKEncodedImageFormat format)
    {
        var scale = Math.Min(1, Math.Max(1 / 8d, 64d / Math.Max(width, height)));
        var (w, h) = ((int)Math.Max(1, width * scale), (int)Math.Max(1, height * scale));
        using var surface = NewSurface(w, h);
        PaintScene(surface.Canvas, prompt, seed, w, h, Math.Min(finished, 0.99));
        return Encode(surface, format);
    }

    /// <summary>Forge's grid: several pictures of one size in one, for <c>return_grid</c>.</summary>
    public static byte[] Grid(IReadOnlyList<byte[]> pictures, int width, int height)
    {
        var columns = (int)Math.Ceiling(Math.Sqrt(pictures.Count));
        var rows = (pictures.Count + columns - 1) / columns;
        using var surface = NewSurface(width * columns, height * rows);
        for (var i = 0; i < pictures.Count; i++)
        {
            using var picture = SKBitmap.Decode(pictures[i]);
            surface.Canvas.DrawBitmap(picture, i % columns * width, i / columns * height, SKSamplingOptions.Default);
        }

        return Encode(surface, SKEncodedImageFormat.Png);
    }

    private static void PaintScene(SKCanvas canvas, string prompt, long seed, int width, int height, double finished)
    {
        if (finished >= 1)
        {
            Scene(canvas, prompt, seed, width, height);
            return;
        }

        // Blocks of 32 pixels at the start, of 2 near the end, under noise that fades.
        var block = 1 << (int)Math.Ceiling(1 + (4 * (1 - Math.Clamp(finished, 0, 1))));
        var (w, h) = (Math.Max(2, width / block), Math.Max(2, height / block));
        using var coarse = NewSurface(w, h);
        Scene(coarse.Canvas, prompt, seed, w, h);
        using var image = coarse.Snapshot();
        canvas.DrawImage(image, new SKRect(0, 0, width, height), new SKSamplingOptions(SKFilterMode.Linear));
        Noise(canvas, prompt, seed, width, height, Math.Max(2, block / 2), (byte)(170 * (1 - finished)));
    }

    private static void Scene(SKCanvas canvas, string prompt, long seed, int width, int height)
    {
        canvas.Save();
        canvas.Scale(height);
        using (var scene = new ScenePainter(canvas, (float)width / height, new Dice(prompt, seed)))
        {
            scene.Paint();
        }

        canvas.Restore();
    }

    private static void Noise(SKCanvas canvas, string prompt, long seed, int width, int height, int block, byte alpha)
    {
        var dice = new Dice(prompt, ~seed);
        using var bitmap = new SKBitmap(new SKImageInfo(Math.Max(1, width / block), Math.Max(1, height / block), SKColorType.Rgba8888, SKAlphaType.Opaque));
        var pixels = MemoryMarshal.Cast<byte, uint>(bitmap.GetPixelSpan());
        for (var i = 0; i < pixels.Length; i++)
        {
            pixels[i] = (uint)dice.Next() | 0xFF000000;
        }

        using var image = SKImage.FromBitmap(bitmap);
        using var paint = new SKPaint { Color = SKColors.White.WithAlpha(alpha) };
        canvas.DrawImage(image, new SKRect(0, 0, width, height), new SKSamplingOptions(SKFilterMode.Nearest), paint);
    }

    private static void WriteOn(SKCanvas canvas, string prompt, int width, int height)
    {
        using var paint = new SKPaint { IsAntialias = true };
        var margin = Math.Max(2f, Math.Min(width, height) * 0.035f);

        using (var font = NewFont(Math.Max(8, Math.Min(width, height) / 36f)))
        {
            var text = font.MeasureText(Stamp);
            if (text > width - (4 * margin))
            {
                font.Size *= (width - (4 * margin)) / text;
                text = font.MeasureText(Stamp);
            }

            var pad = font.Size * 0.55f;
            var pill = SKRect.Create(width - margin - text - (2 * pad), margin, text + (2 * pad), font.Size + pad);
            paint.Color = SKColors.Black.WithAlpha(120);
            canvas.DrawRoundRect(pill, pill.Height / 2, pill.Height / 2, paint);
            paint.Color = SKColors.White.WithAlpha(235);
            canvas.DrawText(Stamp, pill.Left + pad, pill.MidY + (font.Size * 0.36f), SKTextAlign.Left, font, paint);
        }

        using (var font = NewFont(Math.Max(8, Math.Min(width, height) / 26f)))
        {
            var lines = Wrap(Writable(prompt, font), font, width - (2 * margin));
            if (lines.Count == 0)
            {
                return;
            }

            var lineHeight = font.Size * 1.32f;
            var top = height - margin - (lines.Count * lineHeight);
            using (var shade = SKShader.CreateLinearGradient(
                new SKPoint(0, top - (2.5f * margin)), new SKPoint(0, top + margin), [SKColors.Black.WithAlpha(0), SKColors.Black.WithAlpha(150)], SKShaderTileMode.Clamp))
            {
                paint.Color = SKColors.Black;
                paint.Shader = shade;
                canvas.DrawRect(0, top - (2.5f * margin), width, height - top + (2.5f * margin), paint);
                paint.Shader = null;
            }

            paint.Color = SKColors.White;
            for (var i = 0; i < lines.Count; i++)
            {
                canvas.DrawText(lines[i], margin, top + (i * lineHeight) + font.Size, SKTextAlign.Left, font, paint);
            }
        }
    }

    /// <summary>The prompt without what the font has no shape for (emoji, CJK): boxes would look like a fault of ours.</summary>
    internal static string Writable(string prompt, SKFont font)
    {
        var text = new StringBuilder();
        foreach (var rune in prompt.EnumerateRunes())
        {
            if (Rune.IsWhiteSpace(rune) || Rune.IsControl(rune))
            {
                text.Append(' ');
            }
            else if (font.ContainsGlyph(rune.Value))
            {
                text.Append(rune);
            }

            if (text.Length > 1000)
            {
                break;
            }
        }

        return text.ToString();
    }

    /// <summary>At most four lines; words too long for one are broken, and what does not fit ends in an ellipsis.</summary>
    internal static IReadOnlyList<string> Wrap(string text, SKFont font, float width)
    {
        var lines = new List<string>();
        var line = "";
        var words = new Queue<string>(text.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        while (words.TryDequeue(out var word))
        {
            var longer = line.Length == 0 ? word : $"{line} {word}";
            if (font.MeasureText(longer) <= width)
            {
                line = longer;
                continue;
            }

            if (line.Length > 0)
            {
                lines.Add(line);
            }

            if (lines.Count == MostLines)
            {
                lines[^1] = Shorten(lines[^1], font, width);
                return lines;
            }

            // BreakText counts code units here; at least one, or a narrow picture would never end.
            while (font.MeasureText(word) > width && lines.Count < MostLines)
            {
                var fits = Math.Max(1, font.BreakText(word, width));
                lines.Add(word[..fits]);
                word = word[fits..];
            }

            if (lines.Count == MostLines)
            {
                lines[^1] = Shorten(lines[^1], font, width);
                return lines;
            }

            line = word;
        }

        if (line.Length > 0)
        {
            lines.Add(line);
        }

        return lines;
    }

    private static string Shorten(string line, SKFont font, float width)
    {
        while (line.Length > 1 && font.MeasureText(line + "…") > width)
        {
            line = line[..^1];
        }

        return line + "…";
    }

    internal static SKFont NewFont(float size) => new(s_typeface, size) { Subpixel = true, Edging = SKFontEdging.Antialias };

    private static SKSurface NewSurface(int width, int height) =>
        SKSurface.Create(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque));

    private static byte[] Encode(SKSurface surface, SKEncodedImageFormat format)
    {
        using var pixels = surface.PeekPixels();

        // Level 1 is several times faster than the default and hardly larger on gradients.
        using var data = format switch
        {
            SKEncodedImageFormat.Png => pixels.Encode(new SKPngEncoderOptions(SKPngEncoderFilterFlags.Sub, 1)),
            SKEncodedImageFormat.Jpeg => pixels.Encode(new SKJpegEncoderOptions(80)),
            _ => pixels.Encode(format, 80),
        };
        return data?.ToArray() ?? throw new InvalidOperationException($"Skia could not encode a picture as {format}.");
    }

    private static SKTypeface LoadTypeface()
    {
        using var stream = typeof(PicturePainter).Assembly.GetManifestResourceStream("ImageQueue.Web.Simulator.DejaVuSerifCondensed.ttf")
            ?? throw new InvalidOperationException("The simulator's font is not embedded in ImageQueue.Web.");
        using var data = SKData.Create(stream);
        return SKTypeface.FromData(data);
    }
}
