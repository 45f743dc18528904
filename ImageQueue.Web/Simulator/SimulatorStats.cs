using System.Diagnostics;

namespace ImageQueue.Web.Simulator;

/// <summary>The requests that the simulator received and its answers, so that a test can count generations.</summary>
public sealed class SimulatorStats
{
    /// <summary>How many requests, interrupts and unknown paths are remembered.</summary>
    public const int Kept = 10_000;

    private const int CharactersKept = 500;

    // Shared by all simulators of the process, so that the order over several of them is known.
    private static readonly long Epoch = Stopwatch.GetTimestamp();
    private static long _lastStarted;

    private readonly Lock _gate = new();
    private readonly Queue<ReceivedRequest> _received = new();
    private readonly Queue<string?> _interrupts = new();
    private readonly Queue<string> _unknownPaths = new();
    private int _inFlight;
    private int _mostInFlight;
    private long _total;
    private long _generated;
    private long _interrupted;
    private long _interruptCalls;
    private long _modelLoads;

    /// <summary>The counters and the newest <see cref="Kept"/> requests, oldest first.</summary>
    public StatsSnapshot Snapshot()
    {
        lock (_gate)
        {
            return new StatsSnapshot(
                _total, _generated, _interrupted, _interruptCalls, _inFlight, _mostInFlight,
                [.. _received], [.. _interrupts], [.. _unknownPaths], _modelLoads);
        }
    }

    /// <summary>Forgets everything except what is in flight.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _received.Clear();
            _interrupts.Clear();
            _unknownPaths.Clear();
            _total = _generated = _interrupted = _interruptCalls = _modelLoads = 0;
            _mostInFlight = _inFlight;
        }
    }

    /// <summary>The number of remembered requests with this prompt.</summary>
    public int Arrivals(string prompt)
    {
        prompt = Shorten(prompt);
        lock (_gate)
            return _received.Count(request => request.Prompt == prompt);
    }

    internal ReceivedRequest NoteArrival(string task, string prompt, DateTimeOffset at)
    {
        lock (_gate)
        {
            var note = new ReceivedRequest(task, Shorten(prompt), at, ElapsedMilliseconds());
            Keep(_received, note);
            _total++;
            _mostInFlight = Math.Max(_mostInFlight, ++_inFlight);
            return note;
        }
    }

    /// <summary>The request has the lock.</summary>
    internal void NoteStart(ReceivedRequest note)
    {
        lock (_gate)
        {
            note.StartedAtMs = ElapsedMilliseconds();
            note.StartedNumber = Interlocked.Increment(ref _lastStarted);
        }
    }

    internal void NoteEnd(ReceivedRequest note, string outcome)
    {
        lock (_gate)
        {
            _inFlight--;
            note.Outcome = outcome;
            note.AnsweredAtMs = ElapsedMilliseconds();
        }
    }

    internal void CountGeneration(bool interrupted)
    {
        lock (_gate)
        {
            _generated += interrupted ? 0 : 1;
            _interrupted += interrupted ? 1 : 0;
        }
    }

    /// <param name="task">The task that it hit, or null.</param>
    internal void NoteInterrupt(string? task)
    {
        lock (_gate)
        {
            Keep(_interrupts, task);
            _interruptCalls++;
        }
    }

    internal void CountModelLoad() => Interlocked.Increment(ref _modelLoads);

    internal void NoteUnknownPath(string path)
    {
        lock (_gate)
            Keep(_unknownPaths, Shorten(path));
    }

    private static void Keep<T>(Queue<T> newest, T one)
    {
        newest.Enqueue(one);
        if (newest.Count > Kept)
            newest.Dequeue();
    }

    private static string Shorten(string text) => text.Length <= CharactersKept ? text : text[..CharactersKept];

    private static double ElapsedMilliseconds() => Math.Round(Stopwatch.GetElapsedTime(Epoch).TotalMilliseconds, 3);
}

/// <summary>The simulator's counters.</summary>
/// <param name="Total">Requests to generate or upscale that were well-formed.</param>
/// <param name="Generated">Requests generated to the end.</param>
/// <param name="Interrupted">Requests that an interrupt cut short.</param>
/// <param name="InterruptCalls">Calls of interrupt, whether or not anything ran.</param>
/// <param name="InFlight">Requests not yet answered, waiting or running.</param>
/// <param name="MostInFlight">The most there were at once.</param>
/// <param name="Received">The newest requests, oldest first.</param>
/// <param name="Interrupts">For each of the newest calls of interrupt, the task that was being generated; null when none was.</param>
/// <param name="UnknownPaths">Method and path of the newest calls to an endpoint that this kind of server does not have.</param>
/// <param name="ModelLoads">How often a model was loaded, the first time included.</param>
public sealed record StatsSnapshot(
    long Total, long Generated, long Interrupted, long InterruptCalls, int InFlight, int MostInFlight,
    IReadOnlyList<ReceivedRequest> Received, IReadOnlyList<string?> Interrupts, IReadOnlyList<string> UnknownPaths, long ModelLoads)
{
    /// <summary>The tasks that got the lock, in that order.</summary>
    public IReadOnlyList<string> Started =>
        [.. Received.Where(request => request.StartedNumber is not null)
            .OrderBy(request => request.StartedNumber).Select(request => request.Task)];
}

/// <summary>One request to generate or upscale that arrived.</summary>
/// <param name="Task">Its <c>force_task_id</c>, or the one given to it.</param>
/// <param name="Prompt">Its prompt, the first 500 characters.</param>
/// <param name="At">When it arrived, by the clock.</param>
/// <param name="AtMs">When it arrived, in milliseconds of a clock that never steps and that all simulators of the process share.</param>
public sealed record ReceivedRequest(string Task, string Prompt, DateTimeOffset At, double AtMs)
{
    /// <summary>When it got the lock, on the same clock; null while it waits, or when it was refused.</summary>
    public double? StartedAtMs { get; internal set; }

    /// <summary>Its number among all requests that got a lock, over all simulators of the process.</summary>
    public long? StartedNumber { get; internal set; }

    /// <summary>When its answer had been sent, on the same clock; null while it is in flight.</summary>
    public double? AnsweredAtMs { get; internal set; }

    /// <summary>The status of the answer, or <c>reset</c>, or <c>cut short</c>; null while it is in flight.</summary>
    public string? Outcome { get; internal set; }
}
