using System.Collections.Concurrent;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>What there is to go by at one moment for saying when images will be there.</summary>
/// <remarks>
/// <para>An image's own time, <c>T(work)</c>, where work is steps times pixels: take the newest images of the same checkpoint
/// whose work is between half and twice as large; if they are fewer than three, all of that checkpoint; if there are none, all.
/// <c>T</c> is their median of seconds per work, times the work.</para>
/// <para>A running image's remainder: <c>(1 - progress) x T</c>, less the time since that progress was seen here: clocks of
/// different machines are never compared.</para>
/// <para>A waiting image at position <c>p</c>: each healthy slot is free when its running image is done, or now. The
/// <c>p - 1</c> ahead go, one after another, to the slot that is free first and take what the newest images took on average;
/// then it is its turn: <c>eta = when the next slot is free + T(own work)</c>. When which turn comes is worked out once for all
/// (<see cref="Turns"/>), so that an estimate is a look into a table.</para>
/// <para>Null until an image has been generated, and while no slot is healthy.</para>
/// </remarks>
public sealed class EtaBasis
{
    /// <summary>Fewer images of like size than this say less than all of the model.</summary>
    private const int Enough = 3;

    private readonly IReadOnlyList<CompletedGeneration> _generated;
    private readonly Dictionary<long, RunningGeneration> _running = [];
    private readonly GenerationSettings _defaults;
    private readonly DateTimeOffset _at;
    private readonly double _mean;
    private readonly Lazy<Turns?> _turns;
    private readonly ConcurrentDictionary<GenerationWork, double> _times = new();

    internal EtaBasis(IReadOnlyList<CompletedGeneration> generated, IReadOnlyList<RunningGeneration> running, int slots, GenerationSettings defaults, DateTimeOffset at)
    {
        _generated = generated;
        foreach (var image in running)
            _running[image.MessageId] = image;
        _defaults = defaults;
        _at = at;
        _mean = generated.Count == 0 ? 0 : generated.Average(image => image.Seconds);
        _turns = new Lazy<Turns?>(() => slots == 0 || generated.Count == 0
            ? null
            : new Turns([.. running.Take(slots).Select(image => Remainder(image, at))], slots, _mean));
    }

    /// <summary>Nothing is known.</summary>
    public static EtaBasis Nothing { get; } = new([], [], 0, new GenerationSettings(), default);

    /// <summary>What an image took lately, on average; null until there is anything to go by.</summary>
    public double? SecondsPerImage => _generated.Count == 0 ? null : Round(_mean);

    /// <summary>Seconds until the message's image is there; null when there is nothing to go by, or no image to come.</summary>
    /// <param name="message">The message.</param>
    /// <param name="position">Its live position; 0 when it does not wait.</param>
    /// <param name="now">The time, by this machine's clock.</param>
    public double? Of(Message message, int position, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(message);
        return message.Status switch
        {
            _ when _generated.Count == 0 => null,
            MessageStatus.Processing => Round(Remainder(Running(message, now), now)),
            MessageStatus.Queued when position > 0 && Wait(position, now) is { } wait => Round(wait + Time(GenerationWork.Of(message, _defaults))),
            _ => null,
        };
    }

    /// <summary>Until the image at the position is begun; null while no slot is healthy.</summary>
    internal double? Wait(int position, DateTimeOffset now) =>
        _turns.Value is { } turns ? Math.Max(0, turns.SecondsUntil(position) - (now - _at).TotalSeconds) : null;

    /// <summary>What an image takes from its beginning.</summary>
    internal double Time(GenerationWork work) => _times.GetOrAdd(work, work =>
    {
        var sameModel = _generated.Where(image => string.Equals(image.Work.Checkpoint, work.Checkpoint, StringComparison.OrdinalIgnoreCase)).ToList();
        var alike = sameModel.Where(image => image.Work.Size >= work.Size / 2 && image.Work.Size <= work.Size * 2).ToList();
        var chosen = alike.Count >= Enough ? alike : sameModel.Count > 0 ? sameModel : _generated;
        var rates = chosen.Select(image => image.Seconds / image.Work.Size).Order().ToList();
        return (rates[(rates.Count - 1) / 2] + rates[rates.Count / 2]) / 2 * work.Size;
    });

    /// <summary>Progress that is newer than what was read for all counts from now.</summary>
    private RunningGeneration Running(Message message, DateTimeOffset now) =>
        _running.TryGetValue(message.Id, out var seen) && seen.Progress >= message.Progress / 100.0
            ? seen
            : new RunningGeneration(message.Id, GenerationWork.Of(message, _defaults), message.Progress / 100.0, now);

    private double Remainder(RunningGeneration image, DateTimeOffset now) =>
        Math.Max(0, ((1 - image.Progress) * Time(image.Work)) - Math.Max(0, (now - image.SeenAt).TotalSeconds));

    private static double Round(double seconds) => Math.Round(seconds, 1);

    /// <summary>When each turn comes: the times at which slots become free, in order.</summary>
    /// <remarks>
    /// With images of one length, a slot that is free at <c>f</c> takes turns at <c>f</c>, <c>f + mean</c>, <c>f + 2 mean</c> and so on, and the
    /// turns of all slots together are those numbers in order. From where the last slot has become free they repeat, each
    /// round of all slots one mean later; up to there they are in a table.
    /// </remarks>
    private sealed class Turns
    {
        private readonly List<double> _table;
        private readonly int _slots;
        private readonly double _mean;

        public Turns(List<double> freeIn, int slots, double mean)
        {
            (_slots, _mean) = (slots, mean);
            while (freeIn.Count < slots)
                freeIn.Add(0);
            var last = freeIn.Max();
            _table = [.. freeIn.SelectMany(free => Enumerable.Range(0, (int)Math.Ceiling((last - free) / mean) + 1).Select(round => free + (round * mean)))];
            _table.Sort();
        }

        public double SecondsUntil(int position)
        {
            // The table ends with one turn of each slot, the first after the last slot has become free.
            var index = position - 1;
            if (index < _table.Count)
                return _table[index];
            var rounds = ((index - _table.Count) / _slots) + 1;
            return _table[index - (rounds * _slots)] + (rounds * _mean);
        }
    }
}
