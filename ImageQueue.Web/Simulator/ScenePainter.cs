using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// Paints a landscape that follows from prompt and seed alone: sky, sun or moon, clouds, ridges, and a lake or a meadow.
/// It is drawn in units of the picture's height, so that a small one is the same picture.
/// </summary>
internal sealed class ScenePainter(SKCanvas canvas, float aspect, Dice dice) : IDisposable
{
    private static readonly Palette[] s_palettes =
    [
        // dawn
        new("2b3a67", "e8846b", "ffd9a0", "fff1c9", "5b5f97", "1f2142", Night: false),
        // noon by the sea
        new("2a6fb0", "8cc7e8", "eaf6f6", "fffbe6", "4f8a8b", "16404d", Night: false),
        // violet dusk
        new("241e4e", "8f3985", "f2a65a", "ffe0b5", "5c3c7a", "150f2e", Night: false),
        // aurora night
        new("050a1f", "0d3b4f", "2f8f7f", "f4f9ff", "1b4a5a", "03101a", Night: true),
        // autumn
        new("6b8fa3", "e9c9a0", "f6e3c0", "fff5dc", "b5652b", "40200f", Night: false),
        // spring green
        new("5aa9c4", "bfe3d0", "f5f6cf", "fffde0", "6f9f5a", "1f3d2b", Night: false),
        // desert
        new("3c6e8f", "f0b27a", "f9d9ac", "fff3d6", "c2653a", "4a1f1a", Night: false),
        // winter moon
        new("0b132b", "3a506b", "9fb3c8", "f7f9fb", "5c7089", "101a2c", Night: true),
    ];

    private readonly Palette _palette = s_palettes[dice.Below(s_palettes.Length)];
    private readonly float _horizon = dice.Between(0.52f, 0.66f);
    private readonly bool _lake = dice.Chance(0.55f);
    private readonly SKPoint _light = new(dice.Between(0.18f, 0.82f) * aspect, dice.Between(0.16f, 0.4f));
    private readonly SKPaint _paint = new() { IsAntialias = true };

    /// <summary>Paints everything; the canvas is to be scaled to a height of 1.</summary>
    public void Paint()
    {
        Sky();
        Light();
        if (_palette.Night)
        {
            Stars();
        }

        Clouds();
        Ridges();
        if (_lake)
        {
            Lake();
        }
        else
        {
            Meadow();
        }

        Trees();
        Vignette();
    }

    public void Dispose() => _paint.Dispose();

    private void Sky()
    {
        using var shader = SKShader.CreateLinearGradient(
            new SKPoint(0, 0), new SKPoint(0, _horizon), [_palette.Zenith, _palette.Sky, _palette.Haze], [0f, 0.6f, 1f], SKShaderTileMode.Clamp);
        Fill(shader);

        // Broad strokes across the sky: what makes it look painted.
        _paint.Style = SKPaintStyle.Stroke;
        _paint.StrokeCap = SKStrokeCap.Round;
        for (var i = 0; i < 150; i++)
        {
            var y = dice.Unit() * _horizon;
            var x = dice.Between(-0.1f, 1f) * aspect;
            var lighter = dice.Chance(0.5f) ? _palette.Haze : _palette.Zenith;
            _paint.Color = Mix(SkyAt(y), lighter, 0.35f).WithAlpha((byte)(14 + dice.Below(22)));
            _paint.StrokeWidth = dice.Between(0.006f, 0.03f);
            canvas.DrawLine(x, y, x + dice.Between(0.05f, 0.3f), y + dice.Between(-0.02f, 0.02f), _paint);
        }

        _paint.Style = SKPaintStyle.Fill;
    }

    private void Light()
    {
        var radius = dice.Between(0.035f, 0.075f);
        var reach = radius * (_palette.Night ? 5 : 8);
        using (var halo = SKShader.CreateRadialGradient(
            _light, reach, [_palette.Glow.WithAlpha(150), _palette.Glow.WithAlpha(40), _palette.Glow.WithAlpha(0)], [0f, 0.35f, 1f], SKShaderTileMode.Clamp))
        {
            Use(halo);
            canvas.DrawCircle(_light, reach, _paint);
            _paint.Shader = null;
        }

        _paint.Color = _palette.Glow;
        canvas.DrawCircle(_light, radius, _paint);
        if (_palette.Night)
        {
            _paint.Color = Mix(_palette.Glow, _palette.Sky, 0.25f).WithAlpha(120);
            canvas.DrawCircle(_light.X - (radius * 0.3f), _light.Y - (radius * 0.2f), radius * 0.25f, _paint);
            canvas.DrawCircle(_light.X + (radius * 0.35f), _light.Y + (radius * 0.3f), radius * 0.18f, _paint);
        }
    }

    private void Stars()
    {
        for (var i = 0; i < 140; i++)
        {
            _paint.Color = _palette.Glow.WithAlpha((byte)(60 + dice.Below(190)));
            canvas.DrawCircle(dice.Unit() * aspect, dice.Unit() * _horizon * 0.9f, dice.Between(0.0007f, 0.0025f), _paint);
        }
    }

    private void Clouds()
    {
        var clouds = 3 + dice.Below(4);
        for (var i = 0; i < clouds; i++)
        {
            var centre = new SKPoint(dice.Unit() * aspect, dice.Between(0.06f, _horizon * 0.75f));
            var size = dice.Between(0.06f, 0.16f);
            var puffs = 8 + dice.Below(8);
            for (var j = 0; j < puffs; j++)
            {
                var y = centre.Y + (dice.Between(-0.18f, 0.18f) * size);
                _paint.Color = Mix(_palette.Glow, SkyAt(y), dice.Between(0.1f, 0.6f)).WithAlpha((byte)(_palette.Night ? 18 : 42));
                canvas.DrawOval(
                    centre.X + (dice.Between(-1.6f, 1.6f) * size), y, size * dice.Between(0.35f, 0.95f), size * dice.Between(0.06f, 0.2f), _paint);
            }
        }
    }

    private void Ridges()
    {
        const int layers = 5;
        for (var layer = 0; layer < layers; layer++)
        {
            var near = (layer + 1f) / layers;
            var foot = _horizon + (0.02f * layer);
            var height = dice.Between(0.1f, 0.26f) * (1.05f - (0.7f * near));
            var colour = Mix(Mix(_palette.Haze, _palette.Land, 0.35f), _palette.Shade, near * near * 0.8f);
            using var ridge = Ridge(foot - height, height, 0.52f + (0.06f * dice.Unit()));
            using var shader = SKShader.CreateLinearGradient(
                new SKPoint(0, foot - (2 * height)), new SKPoint(0, foot + 0.06f), [colour, Mix(colour, _palette.Haze, 0.55f * (1.1f - near))], SKShaderTileMode.Clamp);
            Use(shader);
            canvas.DrawPath(ridge, _paint);
            _paint.Shader = null;
        }
    }

    /// <summary>A mountain line by midpoint displacement, closed at the bottom of the picture.</summary>
    private SKPath Ridge(float middle, float height, float roughness)
    {
        const int segments = 128;
        var heights = new float[segments + 1];
        heights[0] = dice.Between(-0.6f, 0.6f);
        heights[segments] = dice.Between(-0.6f, 0.6f);
        var swing = 0.9f;
        for (var step = segments; step > 1; step /= 2, swing *= roughness)
        {
            for (var i = step / 2; i < segments; i += step)
            {
                heights[i] = ((heights[i - (step / 2)] + heights[i + (step / 2)]) / 2) + dice.Between(-swing, swing);
            }
        }

        using var path = new SKPathBuilder();
        path.MoveTo(0, 1);
        for (var i = 0; i <= segments; i++)
        {
            path.LineTo(aspect * i / segments, middle + (heights[i] * height));
        }

        path.LineTo(aspect, 1);
        path.Close();
        return path.Detach();
    }

    private void Lake()
    {
        var shore = _horizon + dice.Between(0.1f, 0.14f);
        using (var shader = SKShader.CreateLinearGradient(
            new SKPoint(0, shore), new SKPoint(0, 1), [Mix(_palette.Haze, _palette.Land, 0.25f), Mix(_palette.Zenith, _palette.Shade, 0.35f)], SKShaderTileMode.Clamp))
        {
            Use(shader);
            canvas.DrawRect(0, shore, aspect, 1 - shore, _paint);
            _paint.Shader = null;
        }

        _paint.Style = SKPaintStyle.Stroke;
        for (var i = 0; i < 220; i++)
        {
            var depth = dice.Unit();
            var y = shore + ((1 - shore) * depth);
            // Half of the ripples gather under the sun, where they glitter.
            var glitter = dice.Chance(0.5f);
            var spread = glitter ? 0.04f + (0.16f * depth) : aspect;
            var x = glitter ? _light.X + dice.Between(-spread, spread) : dice.Unit() * aspect;
            _paint.Color = glitter
                ? _palette.Glow.WithAlpha((byte)(50 + dice.Below(110)))
                : Mix(_palette.Sky, _palette.Shade, dice.Unit()).WithAlpha(48);
            _paint.StrokeWidth = 0.0015f + (0.004f * depth);
            canvas.DrawLine(x, y, x + (dice.Between(0.01f, 0.06f) * (0.4f + depth)), y, _paint);
        }

        _paint.Style = SKPaintStyle.Fill;
        Bank();
    }

    /// <summary>The near shore, for the trees to stand on.</summary>
    private void Bank()
    {
        using var bank = Ridge(0.9f, 0.03f, 0.45f);
        _paint.Color = Mix(_palette.Shade, SKColors.Black, 0.3f);
        canvas.DrawPath(bank, _paint);
    }

    private void Meadow()
    {
        var edge = _horizon + dice.Between(0.1f, 0.16f);
        using (var hill = Ridge(edge, 0.035f, 0.4f))
        using (var shader = SKShader.CreateLinearGradient(
            new SKPoint(0, edge), new SKPoint(0, 1), [Mix(_palette.Land, _palette.Haze, 0.3f), _palette.Shade], SKShaderTileMode.Clamp))
        {
            Use(shader);
            canvas.DrawPath(hill, _paint);
            _paint.Shader = null;
        }

        _paint.Style = SKPaintStyle.Stroke;
        for (var i = 0; i < 420; i++)
        {
            var depth = dice.Unit();
            var y = edge + 0.05f + ((0.97f - edge) * depth);
            var x = dice.Unit() * aspect;
            _paint.Color = Mix(Mix(_palette.Land, _palette.Glow, dice.Between(0f, 0.45f)), _palette.Shade, depth * 0.7f).WithAlpha(120);
            _paint.StrokeWidth = 0.0012f + (0.003f * depth);
            var tall = 0.008f + (0.04f * depth);
            canvas.DrawLine(x, y, x + (dice.Between(-0.4f, 0.4f) * tall), y - tall, _paint);
        }

        _paint.Style = SKPaintStyle.Fill;
    }

    private void Trees()
    {
        var trees = 3 + dice.Below(9);
        var left = dice.Chance(0.5f);
        _paint.Color = Mix(_palette.Shade, SKColors.Black, 0.35f);
        for (var i = 0; i < trees; i++)
        {
            var at = dice.Unit() * dice.Unit() * 0.55f * aspect;
            var x = left ? at : aspect - at;
            var foot = _lake ? dice.Between(0.91f, 0.97f) : dice.Between(0.8f, 0.94f);
            var tall = dice.Between(0.14f, 0.34f);
            using var tree = new SKPathBuilder();
            tree.AddRect(new SKRect(x - (tall * 0.018f), foot - (tall * 0.2f), x + (tall * 0.018f), foot));
            const int tiers = 6;
            for (var tier = 0; tier < tiers; tier++)
            {
                var top = foot - tall + (tall * 0.82f * tier / tiers);
                var wide = tall * (0.05f + (0.032f * tier));
                tree.MoveTo(x, top);
                tree.LineTo(x + (wide * dice.Between(0.85f, 1.1f)), top + (tall * 0.26f));
                tree.LineTo(x - (wide * dice.Between(0.85f, 1.1f)), top + (tall * 0.26f));
                tree.Close();
            }

            using var path = tree.Detach();
            canvas.DrawPath(path, _paint);
        }
    }

    private void Vignette()
    {
        using var shader = SKShader.CreateRadialGradient(
            new SKPoint(aspect / 2, 0.48f), 0.75f * MathF.Max(1, aspect), [SKColors.Black.WithAlpha(0), SKColors.Black.WithAlpha(0), SKColors.Black.WithAlpha(90)], [0f, 0.6f, 1f], SKShaderTileMode.Clamp);
        Fill(shader);
    }

    private void Fill(SKShader shader)
    {
        Use(shader);
        canvas.DrawRect(0, 0, aspect, 1, _paint);
        _paint.Shader = null;
    }

    private void Use(SKShader shader)
    {
        // The paint's alpha would thin the shader's colours.
        _paint.Color = SKColors.Black;
        _paint.Shader = shader;
    }

    private SKColor SkyAt(float y)
    {
        var t = y / _horizon;
        return t < 0.6f ? Mix(_palette.Zenith, _palette.Sky, t / 0.6f) : Mix(_palette.Sky, _palette.Haze, (t - 0.6f) / 0.4f);
    }

    private static SKColor Mix(SKColor a, SKColor b, float t)
    {
        t = Math.Clamp(t, 0, 1);
        return new SKColor(
            (byte)(a.Red + ((b.Red - a.Red) * t)), (byte)(a.Green + ((b.Green - a.Green) * t)), (byte)(a.Blue + ((b.Blue - a.Blue) * t)));
    }

    private sealed record Palette(SKColor Zenith, SKColor Sky, SKColor Haze, SKColor Glow, SKColor Land, SKColor Shade, bool Night)
    {
        public Palette(string zenith, string sky, string haze, string glow, string land, string shade, bool Night)
            : this(SKColor.Parse(zenith), SKColor.Parse(sky), SKColor.Parse(haze), SKColor.Parse(glow), SKColor.Parse(land), SKColor.Parse(shade), Night)
        {
        }
    }
}
