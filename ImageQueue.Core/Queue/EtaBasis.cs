using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue;

/// <summary>What there is to go by at one moment for saying when pictures will be there.</summary>
/// <remarks>
/// <para>A picture's own time, <c>T(work)</c>, where work is steps times pixels: take the newest pictures of the same checkpoint
/// whose work is between half and twice as large; if they are fewer than three, all of that checkpoint; if there are none, all.
/// <c>T</c> is their median of seconds per work, times the work.</para>
/// <para>A running picture's remainder: <c>(1 - progress) x T</c>, less the time since that progress was stored.</para>
/// <para>A waiting picture at position <c>p</c>: each healthy slot is free when its running picture is done, or now. The
/// <c>p - 1</c> ahead go, one after another, to the slot that is free first and take what the newest pictures took on average;
/// then it is its turn: <c>eta = when the next slot is free + T(own work)</c>.</para>
/// <para>Null until a picture has been painted, and while no slot is healthy.</para>
/// </remarks>
public sealed class EtaBasis
{
    /// <summary>Fewer pictures of like size than this say less than all of the model.</summary>
    private const int Enough = 3;

    private readonly IReadOnlyList<Painted> _painted;
    private readonly IReadOnlyList<Painting> _running;
    private readonly int _slots;
    private readonly GenerationDefaults _defaults;
    private readonly double _mean;

    internal EtaBasis(IReadOnlyList<Painted> painted, IReadOnlyList<Painting> running, int slots, GenerationDefaults defaults)
    {
        _painted = painted;
        _running = running;
        _slots = slots;
        _defaults = defaults;
        _mean = painted.Count == 0 ? 0 : painted.Average(picture => picture.Seconds);
    }

    /// <summary>Nothing is known.</summary>
    public static EtaBasis Nothing { get; } = new([], [], 0, new GenerationDefaults());

    /// <summary>What a picture took lately, on average; null until there is anything to go by.</summary>
    public double? SecondsPerImage => _painted.Count == 0 ? null : Round(_mean);

    /// <summary>Seconds until the message's picture is there; null when there is nothing to go by, or no picture to come.</summary>
    /// <param name="message">The message.</param>
    /// <param name="position">Its live position; 0 when it does not wait.</param>
    /// <param name="now">The time.</param>
    public double? Of(Message message, int position, DateTimeOffset now) => message.Status switch
    {
        _ when _painted.Count == 0 => null,
        MessageStatus.Processing => Round(Remainder(Running(message, _defaults), now)),
        MessageStatus.Queued when position > 0 && _slots > 0 => Round(Wait(position, now) + Time(Work.Of(message, _defaults))),
        _ => null,
    };

    internal static Painting Running(Message message, GenerationDefaults defaults) =>
        new(Work.Of(message, defaults), message.Progress / 100.0, message.UpdatedAt);

    /// <summary>Until the picture at the position is begun.</summary>
    internal double Wait(int position, DateTimeOffset now)
    {
        var free = new PriorityQueue<double, double>(_slots);
        foreach (var picture in _running.Take(_slots))
            Add(Remainder(picture, now));
        while (free.Count < _slots)
            Add(0);

        // After a few rounds the slots are at most one picture apart; from there each round adds one picture's time to all.
        var ahead = position - 1;
        var rounds = Math.Max(0, (ahead / _slots) - 8);
        for (ahead -= rounds * _slots; ahead > 0; ahead--)
            Add(free.Dequeue() + _mean);
        return free.Peek() + (rounds * _mean);

        void Add(double seconds) => free.Enqueue(seconds, seconds);
    }

    /// <summary>What a picture takes from its beginning.</summary>
    internal double Time(Work work)
    {
        var sameModel = _painted.Where(picture => string.Equals(picture.Work.Checkpoint, work.Checkpoint, StringComparison.OrdinalIgnoreCase)).ToList();
        var alike = sameModel.Where(picture => picture.Work.Size >= work.Size / 2 && picture.Work.Size <= work.Size * 2).ToList();
        var chosen = alike.Count >= Enough ? alike : sameModel.Count > 0 ? sameModel : _painted;
        var rates = chosen.Select(picture => picture.Seconds / picture.Work.Size).Order().ToList();
        return (rates[(rates.Count - 1) / 2] + rates[rates.Count / 2]) / 2 * work.Size;
    }

    private double Remainder(Painting picture, DateTimeOffset now) =>
        Math.Max(0, ((1 - picture.Progress) * Time(picture.Work)) - Math.Max(0, (now - picture.At).TotalSeconds));

    private static double Round(double seconds) => Math.Round(seconds, 1);
}
