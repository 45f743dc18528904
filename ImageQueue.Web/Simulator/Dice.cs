using System.Text;

namespace ImageQueue.Web.Simulator;

/// <summary>Pseudo-random numbers that are the same for the same prompt and seed in every version of .NET (SplitMix64).</summary>
internal sealed class Dice
{
    private ulong _state;

    public Dice(string prompt, long seed)
    {
        // FNV-1a: string.GetHashCode differs from process to process.
        var hash = 14695981039346656037UL;
        foreach (var b in Encoding.UTF8.GetBytes(prompt))
        {
            hash = (hash ^ b) * 1099511628211UL;
        }

        _state = hash ^ ((ulong)seed * 0x9E3779B97F4A7C15UL);
    }

    public ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    /// <summary>0 to 1, 1 excluded.</summary>
    public float Unit() => (Next() >> 40) * (1f / (1 << 24));

    public float Between(float low, float high) => low + ((high - low) * Unit());

    public int Below(int count) => (int)(Next() % (ulong)count);

    public bool Chance(float probability) => Unit() < probability;
}
