using System.Collections.Concurrent;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>The data of one moment for estimating when images are complete.</summary>
/// <remarks>
/// <para>An image's own time, <c>T(work)</c>, where work is steps times pixels: take the newest images of the same checkpoint whose
/// work is between half and twice as large; if they are fewer than three, all of that checkpoint; if there are none, all. <c>T</c> is
/// their median of seconds per work, times the work; never more than <c>Forge:Timeout</c>.</para>
/// <para>A running image's remainder: <c>(1 - progress) x T</c>, with the image's own pace for <c>T</c> once it has one, less the time
/// since that progress was seen here: clocks of different machines are never compared.</para>
/// <para>A waiting image at position <c>p</c>: each healthy backend in use is free when its running image is complete, or now. The
/// <c>p - 1</c> ahead go, one after another, to the backend that is free first and take the mean of the newest images; then
/// <c>eta = when the next backend is free + T(own work)</c>. The times at which backends become free are computed once for all
/// readers (<see cref="Turns"/>), so an estimate is a look into a table.</para>
/// <para>Null until an image was generated; for a waiting image also while the queue is paused, or while each backend that can
/// generate it is unhealthy or paused.</para>
/// </remarks>
public sealed class EtaBasis
{
    /// <summary>Fewer images of similar size say less than all of the model.</summary>
    private const int Enough = 3;

    private readonly IReadOnlyList<CompletedGeneration> _generated;
    private readonly Dictionary<long, RunningGeneration> _running = [];
    private readonly DateTimeOffset _at;
    private readonly double _mean;
    private readonly Lazy<Turns?> _turns;
    private readonly ConcurrentDictionary<GenerationWork, double> _times = new();

    /// <param name="generated">The newest images.</param>
    /// <param name="running">The newest progress first.</param>
    /// <param name="slots">Healthy backends in use, on all machines.</param>
    /// <param name="at">When the data was read, by this machine's clock.</param>
    internal EtaBasis(IReadOnlyList<CompletedGeneration> generated, IReadOnlyList<RunningGeneration> running, int slots, DateTimeOffset at)
    {
        _generated = generated;
        foreach (var image in running)
            _running[image.MessageId] = image;
        _at = at;
        _mean = generated.Count == 0 ? 0 : generated.Average(image => image.Seconds);
        _turns = new Lazy<Turns?>(() => slots == 0 || generated.Count == 0
            ? null
            : new Turns([.. running.Take(slots).Select(image => Remainder(image, at))], slots, _mean));
    }

    internal static EtaBasis Nothing { get; } = new([], [], 0, default);

    /// <summary>What requests get for the settings they leave out.</summary>
    internal GenerationSettings Defaults { get; init; } = new();

    /// <summary>Longest time of one image.</summary>
    internal TimeSpan Limit { get; init; } = TimeSpan.MaxValue;

    /// <summary>Whether a healthy backend in use can generate it.</summary>
    internal Func<Message, bool> IsPossible { get; init; } = _ => true;

    /// <summary>The mean of the newest images; null until there is one.</summary>
    public double? SecondsPerImage => _generated.Count == 0 ? null : Round(_mean);

    /// <summary>Seconds until the message's image is complete; null when that cannot be estimated, or no image will come.</summary>
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
            MessageStatus.Queued when position > 0 && Wait(position, now) is { } wait && IsPossible(message) =>
                Round(wait + Time(GenerationWork.Of(message, Defaults))),
            _ => null,
        };
    }

    /// <summary>Seconds until the job at the position gets a backend; null while none is healthy and in use.</summary>
    internal double? Wait(int position, DateTimeOffset now) =>
        _turns.Value is { } turns ? Math.Max(0, turns.SecondsUntil(position) - (now - _at).TotalSeconds) : null;

    /// <summary>Seconds for a whole image.</summary>
    internal double Time(GenerationWork work) => _times.GetOrAdd(work, work =>
    {
        var sameModel = _generated.Where(
            image => string.Equals(image.Work.Checkpoint, work.Checkpoint, StringComparison.OrdinalIgnoreCase)).ToList();
        var alike = sameModel.Where(image => image.Work.Size >= work.Size / 2 && image.Work.Size <= work.Size * 2).ToList();
        var chosen = alike.Count >= Enough ? alike : sameModel.Count > 0 ? sameModel : _generated;
        var rates = chosen.Select(image => image.Seconds / image.Work.Size).Order().ToList();
        return Math.Min((rates[(rates.Count - 1) / 2] + rates[rates.Count / 2]) / 2 * work.Size, Limit.TotalSeconds);
    });

    /// <summary>Progress newer than the data counts from now.</summary>
    private RunningGeneration Running(Message message, DateTimeOffset now)
    {
        var progress = message.Progress / 100.0;
        if (!_running.TryGetValue(message.Id, out var seen))
            return new RunningGeneration(message.Id, GenerationWork.Of(message, Defaults), progress, now);
        return seen.Progress >= progress ? seen : seen.At(progress, now);
    }

    private double Remainder(RunningGeneration image, DateTimeOffset now)
    {
        var whole = Math.Min(image.OwnTime ?? Time(image.Work), Limit.TotalSeconds);
        return Math.Max(0, ((1 - image.Progress) * whole) - Math.Max(0, (now - image.SeenAt).TotalSeconds));
    }

    private static double Round(double seconds) => Math.Round(seconds, 1);

    /// <summary>The times at which backends become free, in order.</summary>
    /// <remarks>
    /// With images of one length, a backend that is free at <c>f</c> is free again at
    /// <c>f + mean</c>, <c>f + 2 mean</c> and so on; of all backends, those numbers in order. From where the last backend has become
    /// free they repeat, each round one mean later; up to there they are in a table.
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
            _table =
            [
                .. freeIn.SelectMany(
                    free => Enumerable.Range(0, (int)Math.Ceiling((last - free) / mean) + 1).Select(round => free + (round * mean))),
            ];
            _table.Sort();
        }

        public double SecondsUntil(int position)
        {
            // The table ends with one entry for each backend, the first after the last one has become free.
            var index = position - 1;
            if (index < _table.Count)
                return _table[index];
            var rounds = ((index - _table.Count) / _slots) + 1;
            return _table[index - (rounds * _slots)] + (rounds * _mean);
        }
    }
}
