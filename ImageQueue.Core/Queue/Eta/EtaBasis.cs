using System.Collections.Concurrent;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>The data of one moment for estimating when images are complete.</summary>
/// <remarks>
/// <para>An image's own time, <c>T(work)</c>, where work is steps times pixels: take the newest images of the same checkpoint whose
/// work is between half and twice as large; if they are fewer than three, all of that checkpoint; if there are none, all. <c>T</c> is
/// their median of seconds per work, times the work. On a backend it is <c>T x factor</c>: the median of what the backend's own newest
/// images took, each divided by its <c>T</c>. Never more than <c>Forge:Timeout</c>.</para>
/// <para>A running image's remainder: <c>(1 - progress) x T</c> on its backend, with the image's own pace for <c>T</c> once it has one,
/// less the time since that progress was seen here: clocks of different machines are never compared.</para>
/// <para>A waiting image at position <c>p</c>: each healthy backend in use is free when its running image is complete, or now. The
/// <c>p - 1</c> ahead go, one after another, to the backend that is free first and take the mean time of the newest images times
/// its factor; then <c>eta = when the next backend is free + T(own work)</c> on that backend, or on the first that may generate it
/// (<see cref="Turns"/>).</para>
/// <para>Null until an image was generated; for a waiting image also while the queue is paused, or while each backend that can
/// generate it is unhealthy or paused.</para>
/// </remarks>
public sealed class EtaBasis
{
    /// <summary>Fewer images of similar size say less than all of the model.</summary>
    private const int Enough = 3;

    private readonly IReadOnlyList<CompletedGeneration> _generated;
    private readonly ILookup<string?, CompletedGeneration> _generatedBy;
    private readonly Dictionary<long, RunningGeneration> _running = [];
    private readonly DateTimeOffset _at;
    private readonly Lazy<Turns?> _turns;
    private readonly ConcurrentDictionary<GenerationWork, double> _times = new();
    private readonly ConcurrentDictionary<string, double> _factors = new(StringComparer.Ordinal);

    /// <param name="generated">The newest images.</param>
    /// <param name="running">The newest progress first.</param>
    /// <param name="slots">Healthy backends in use, on all machines; null for one whose name is not known here.</param>
    /// <param name="at">When the data was read, by this machine's clock.</param>
    internal EtaBasis(
        IReadOnlyList<CompletedGeneration> generated, IReadOnlyList<RunningGeneration> running, IReadOnlyList<string?> slots,
        DateTimeOffset at)
    {
        _generated = generated;
        _generatedBy = generated.ToLookup(image => image.Backend);
        foreach (var image in running)
            _running[image.MessageId] = image;
        _at = at;
        _turns = new Lazy<Turns?>(() => slots.Count == 0 || generated.Count == 0 ? null : new Turns(Slots(running, slots)));
    }

    internal static EtaBasis Nothing { get; } = new([], [], [], default);

    /// <summary>What requests get for the settings they leave out.</summary>
    internal GenerationSettings Defaults { get; init; } = new();

    /// <summary>Longest time of one image.</summary>
    internal TimeSpan Limit { get; init; } = TimeSpan.MaxValue;

    /// <summary>Whether the backend, one of the slots, may generate the message's image.</summary>
    internal Func<Message, string?, bool> IsPossible { get; init; } = (_, _) => true;

    /// <summary>The mean of the newest images; null until there is one.</summary>
    public double? SecondsPerImage => _generated.Count == 0 ? null : Round(_generated.Average(image => image.Seconds));

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
            MessageStatus.Queued when position > 0 && Turn(position, message, now) is { } turn =>
                Round(turn.In + Time(GenerationWork.Of(message, Defaults), turn.Backend)),
            _ => null,
        };
    }

    /// <summary>Seconds until the message gets a backend that may generate it, and which; null when there is none.</summary>
    internal (double In, string? Backend)? Turn(int position, Message message, DateTimeOffset now)
    {
        if (_turns.Value is not { } turns)
            return null;
        var turn = turns.At(position);
        if (!IsPossible(message, turn.Backend))
        {
            var able = turns.Slots.Where(slot => IsPossible(message, slot.Backend)).ToList();
            if (able.Count == 0)
                return null;
            var first = able.MinBy(slot => slot.FreeIn);
            turn = (Math.Max(turn.In, first.FreeIn), first.Backend);
        }

        return (Math.Max(0, turn.In - (now - _at).TotalSeconds), turn.Backend);
    }

    /// <summary>Seconds for a whole image on a backend.</summary>
    internal double Time(GenerationWork work, string? backend = null) => Math.Min(Typical(work) * Factor(backend), Limit.TotalSeconds);

    private double Typical(GenerationWork work) => _times.GetOrAdd(work, work =>
    {
        var sameModel = _generated.Where(
            image => string.Equals(image.Work.Checkpoint, work.Checkpoint, StringComparison.OrdinalIgnoreCase)).ToList();
        var alike = sameModel.Where(image => image.Work.Size >= work.Size / 2 && image.Work.Size <= work.Size * 2).ToList();
        var chosen = alike.Count >= Enough ? alike : sameModel.Count > 0 ? sameModel : _generated;
        return Median(chosen.Select(image => image.Seconds / image.Work.Size)) * work.Size;
    });

    /// <summary>How many times longer than typical the backend takes; 1 of one without an image.</summary>
    private double Factor(string? backend) => backend is null || !_generatedBy.Contains(backend)
        ? 1
        : _factors.GetOrAdd(backend, name => Median(_generatedBy[name].Select(image => image.Seconds / Typical(image.Work))));

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }

    /// <summary>Progress newer than the data counts from now.</summary>
    private RunningGeneration Running(Message message, DateTimeOffset now)
    {
        var progress = message.Progress / 100.0;
        if (!_running.TryGetValue(message.Id, out var seen))
            return new RunningGeneration(message.Id, GenerationWork.Of(message, Defaults), progress, now, message.Backend);
        return seen.Progress >= progress ? seen : seen.At(progress, now);
    }

    private double Remainder(RunningGeneration image, DateTimeOffset now)
    {
        var whole = Math.Min(image.OwnTime ?? Time(image.Work, image.Backend), Limit.TotalSeconds);
        return Math.Max(0, ((1 - image.Progress) * whole) - Math.Max(0, (now - image.SeenAt).TotalSeconds));
    }

    /// <summary>When each backend is free. An image on a backend without a known name keeps one of those busy.</summary>
    private List<Slot> Slots(IReadOnlyList<RunningGeneration> running, IReadOnlyList<string?> backends)
    {
        var busy = running.DistinctBy(image => image.Backend ?? $"{image.MessageId}").ToLookup(image => backends.Contains(image.Backend)
            ? image.Backend : null);
        var others = new Queue<RunningGeneration>(busy[null]);
        // T is a median, but many in a row take the mean.
        var skew = _generated.Sum(image => image.Seconds) / _generated.Sum(image => Typical(image.Work) * Factor(image.Backend));
        var mean = _generated.Average(image => Typical(image.Work)) * skew;
        return
        [
            .. backends.Select(backend =>
            {
                RunningGeneration? image = backend is null
                    ? others.TryDequeue(out var other) ? other : null
                    : busy[backend].Cast<RunningGeneration?>().FirstOrDefault();
                return new Slot(backend, image is { } one ? Remainder(one, _at) : 0, mean * Factor(backend));
            }),
        ];
    }

    private static double Round(double seconds) => Math.Round(seconds, 1);

    /// <param name="FreeIn">Seconds until its running image is complete.</param>
    /// <param name="Mean">Seconds that it takes for one image after another.</param>
    private readonly record struct Slot(string? Backend, double FreeIn, double Mean);

    /// <summary>The times at which backends become free, in order.</summary>
    /// <remarks>
    /// A backend that is free at <c>f</c> is free again at <c>f + mean</c>, <c>f + 2 mean</c> and so on. The turn of position <c>p</c> is
    /// the p-th of all backends' times; how many there are until a time is a sum of divisions, so it is found by halving.
    /// </remarks>
    private sealed class Turns(List<Slot> slots)
    {
        private const double Exact = 1e-9;

        private const double Instant = 1e-6;

        public IReadOnlyList<Slot> Slots => slots;

        public (double In, string? Backend) At(int position)
        {
            var (low, high) = (-1.0, slots.Min(slot => slot.FreeIn + ((position - 1) * slot.Mean)));
            while (high - low > Exact * Math.Max(1, high))
            {
                var middle = (low + high) / 2;
                (low, high) = slots.Sum(slot => Count(slot, middle)) >= position ? (low, middle) : (middle, high);
            }

            // Of several that become free at once the fastest is first.
            var at = slots.Where(slot => slot.FreeIn <= high).Max(slot => LastOf(slot, high));
            var before = (int)slots.Sum(slot => Count(slot, at - Instant));
            var together = slots.Where(slot => slot.FreeIn <= high && LastOf(slot, high) > at - Instant)
                .OrderBy(slot => slot.Mean).ToList();
            return (at, together[Math.Clamp(position - before - 1, 0, together.Count - 1)].Backend);
        }

        private static double Count(Slot slot, double until) => until < slot.FreeIn ? 0 : Math.Floor((until - slot.FreeIn) / slot.Mean) + 1;

        private static double LastOf(Slot slot, double until) =>
            slot.FreeIn + (Math.Floor(((until - slot.FreeIn) / slot.Mean) + Exact) * slot.Mean);
    }
}
