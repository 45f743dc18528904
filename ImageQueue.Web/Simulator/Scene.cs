using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// A landscape that follows from prompt and seed alone: sky, sun, ridges, and a lake. It is drawn in units of the image's
/// height, so that a small one is the same image.
/// </summary>
internal sealed class Scene(SKCanvas canvas, float aspect, Dice dice) : IDisposable
{
    // Zenith, haze, glow, land, shade.
    private static SKColor[][] Palettes { get; } =
    [
        .. new[]
        {
            "2b3a67 ffd9a0 fff1c9 5b5f97 1f2142", "2a6fb0 eaf6f6 fffbe6 4f8a8b 16404d",
            "241e4e f2a65a ffe0b5 5c3c7a 150f2e", "050a1f 2f8f7f f4f9ff 1b4a5a 03101a",
            "6b8fa3 f6e3c0 fff5dc b5652b 40200f", "5aa9c4 f5f6cf fffde0 6f9f5a 1f3d2b",
            "3c6e8f f9d9ac fff3d6 c2653a 4a1f1a", "0b132b 9fb3c8 f7f9fb 5c7089 101a2c",
        }.Select(line => line.Split(' ').Select(SKColor.Parse).ToArray()),
    ];

    private readonly SKColor[] _palette = Palettes[dice.Below(Palettes.Length)];
    private readonly float _horizon = dice.Between(0.52f, 0.66f);
    private readonly SKPoint _light = new(dice.Between(0.18f, 0.82f) * aspect, dice.Between(0.16f, 0.4f));
    private readonly SKPaint _brush = new() { IsAntialias = true, StrokeCap = SKStrokeCap.Round };

    private SKColor Zenith => _palette[0];

    private SKColor Haze => _palette[1];

    private SKColor Glow => _palette[2];

    private SKColor Land => _palette[3];

    private SKColor Shade => _palette[4];

    /// <summary>Draws everything; the canvas must be scaled to a height of 1.</summary>
    public void Draw()
    {
        Fill(0, 1, Zenith, Haze);
        Strokes(150, 0, _horizon, Zenith, Haze, 24);
        for (var ring = 8; ring > 0; ring--)
        {
            _brush.Color = Glow.WithAlpha((byte)(ring == 1 ? 255 : 18));
            canvas.DrawCircle(_light, 0.05f * ring, _brush);
        }

        for (var layer = 0; layer < 5; layer++)
            Ridge(_horizon - 0.1f + (0.04f * layer), dice.Between(0.03f, 0.1f), Mix(Mix(Haze, Land, 0.35f), Shade, layer * layer * 0.04f));

        Fill(_horizon + 0.12f, 1, Mix(Haze, Land, 0.25f), Mix(Zenith, Shade, 0.5f));
        Strokes(180, _horizon + 0.13f, 1, Haze, Shade, 48);
        Strokes(60, _horizon + 0.13f, 1, Glow, Glow, 90, _light.X / aspect, 0.12f);
        Ridge(0.92f, 0.03f, Mix(Shade, SKColors.Black, 0.3f));
    }

    public void Dispose() => _brush.Dispose();

    private void Fill(float top, float bottom, SKColor from, SKColor to)
    {
        using var shader = SKShader.CreateLinearGradient(new SKPoint(0, top), new SKPoint(0, bottom), [from, to], SKShaderTileMode.Clamp);
        _brush.Color = SKColors.Black; // Its alpha would thin the shader's colours.
        _brush.Shader = shader;
        canvas.DrawRect(0, top, aspect, bottom - top, _brush);
        _brush.Shader = null;
    }

    /// <summary>Broad strokes of the brush.</summary>
    private void Strokes(
        int count, float top, float bottom, SKColor one, SKColor other, byte alpha, float middle = 0.5f, float spread = 0.6f)
    {
        for (var i = 0; i < count; i++)
        {
            var (x, y) = ((middle + dice.Between(-spread, spread)) * aspect, dice.Between(top, bottom));
            _brush.Color = Mix(one, other, dice.Unit()).WithAlpha(alpha);
            _brush.StrokeWidth = dice.Between(0.002f, 0.012f);
            canvas.DrawLine(x, y, x + dice.Between(0.02f, 0.16f), y + dice.Between(-0.005f, 0.005f), _brush);
        }
    }

    /// <summary>A mountain line of five waves, closed at the bottom of the image.</summary>
    private void Ridge(float middle, float height, SKColor colour)
    {
        Span<float> phases = [dice.Unit() * 6, dice.Unit() * 6, dice.Unit() * 6, dice.Unit() * 6, dice.Unit() * 6];
        using var path = new SKPathBuilder();
        path.MoveTo(0, 1);
        for (var i = 0; i <= 128; i++)
        {
            var y = middle;
            for (var wave = 0; wave < phases.Length; wave++)
                y += height * MathF.Sin((i * 0.025f * aspect * MathF.Pow(2.1f, wave)) + phases[wave]) / MathF.Pow(1.9f, wave);
            path.LineTo(aspect * i / 128, y);
        }

        path.LineTo(aspect, 1);
        path.Close();
        using var ridge = path.Detach();
        _brush.Color = colour;
        canvas.DrawPath(ridge, _brush);
    }

    private static SKColor Mix(SKColor a, SKColor b, float t) => new(
        (byte)(a.Red + ((b.Red - a.Red) * t)), (byte)(a.Green + ((b.Green - a.Green) * t)), (byte)(a.Blue + ((b.Blue - a.Blue) * t)));
}

/// <summary>Pseudo-random numbers that are the same for the same prompt and seed in every version of .NET (SplitMix64).</summary>
internal sealed class Dice
{
    private ulong _state;

    public Dice(string prompt, long seed)
    {
        // FNV-1a: string.GetHashCode differs from process to process.
        var hash = Encoding.UTF8.GetBytes(prompt).Aggregate(14695981039346656037UL, (hash, b) => (hash ^ b) * 1099511628211UL);
        _state = hash ^ ((ulong)seed * 0x9E3779B97F4A7C15UL);
    }

    /// <summary>0 to 1, 1 excluded.</summary>
    public float Unit() => (Next() >> 40) * (1f / (1 << 24));

    public float Between(float low, float high) => low + ((high - low) * Unit());

    public int Below(int count) => (int)(Next() % (ulong)count);

    private ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }
}
