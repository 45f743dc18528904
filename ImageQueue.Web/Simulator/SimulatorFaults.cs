using System.Text.RegularExpressions;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// Simulated faults: for every request until cleared (or a number of times), or for one request by a word in its prompt, such as
/// <c>[fault:oom]</c>, or <c>[fault:reset*2]</c> for the first two times that this prompt arrives.
/// </summary>
/// <remarks>
/// Everything here has been seen at a real server: see the error handlers of Forge's <c>modules/api/api.py</c> and its relatives.
/// </remarks>
public sealed partial class SimulatorFaults
{
    /// <summary>Takes ten times as long, and at least two seconds.</summary>
    public const string Slow = "slow";

    /// <summary>Stops moving in the middle of sampling until it is interrupted.</summary>
    public const string Stalled = "stalled";

    /// <summary>500 in Forge's form, with the text in <c>message</c>.</summary>
    public const string ServerError = "500";

    /// <summary>500 in the form of A1111, reForge and forge-classic, with the text in <c>errors</c>.</summary>
    public const string ServerErrorOfA1111 = "500-errors";

    /// <summary>500 of a GPU that has run out of memory.</summary>
    public const string OutOfMemory = "oom";

    /// <summary>The connection is reset in the middle of sampling, as when the process dies; the work dies with it.</summary>
    public const string Reset = "reset";

    /// <summary>The answer's body stops in the middle, and the connection is reset.</summary>
    public const string Truncated = "truncated";

    /// <summary>A whole answer with a PNG in it that stops in the middle.</summary>
    public const string CutImage = "cut-image";

    /// <summary>200 with base64 of bytes that are no image.</summary>
    public const string Garbage = "garbage";

    /// <summary>200 with <c>images: []</c>.</summary>
    public const string Empty = "empty";

    /// <summary>200 with <c>images: [""]</c>: how KoboldCpp says that it failed.</summary>
    public const string Blank = "blank";

    /// <summary>200 with an HTML page, as a proxy or Gradio's own page would give.</summary>
    public const string NotJson = "notjson";

    /// <summary>200 with a JPEG: not an error, but the server's <c>samples_format</c> is <c>jpg</c>.</summary>
    public const string Jpeg = "jpeg";

    /// <summary>200 with a WebP: not an error, but the server's <c>samples_format</c> is <c>webp</c>.</summary>
    public const string WebP = "webp";

    /// <summary>422 with FastAPI's list of errors.</summary>
    public const string Invalid = "422";

    /// <summary>422 with a plain sentence.</summary>
    public const string Rejected = "rejected";

    /// <summary>Stops moving in the middle of sampling; no interrupt ends it, only the end of the process or <see cref="Clear"/>.</summary>
    public const string Hang = "hang";

    /// <summary>
    /// 500 <c>CUDA error: unspecified launch failure</c>. The GPU does not recover by itself: requested in a prompt, it hits the next
    /// <see cref="CudaRequests"/> requests too, as until a supervisor restarts the process. All other endpoints work.
    /// </summary>
    public const string Cuda = "cuda";

    /// <summary>Few enough that canaries, which come after growing pauses, see the end of it within half a minute.</summary>
    public const int CudaRequests = 5;

    /// <summary>403 with a page: a firewall that blocks the prompt.</summary>
    public const string Firewall = "403";

    /// <summary>504 with a page: a proxy that gives up after a second, while the server generates to the end.</summary>
    public const string GatewayTimeout = "504";

    /// <summary>Its model folder is not mounted: <c>sd-models</c> is empty, and generations fail. Only for all requests.</summary>
    public const string NoModel = "nomodel";

    /// <summary>
    /// Loads its model for a long time, without progress: twenty times as long as an image takes, and at least three seconds.
    /// </summary>
    public const string SlowLoad = "slowload";

    /// <summary>200 with an all-black image: the numbers have become NaN.</summary>
    public const string Nan = "nan";

    /// <summary>Nothing under <c>/internal</c> (Forge's <c>--nowebui</c>). Only for all requests.</summary>
    public const string NoWebUi = "nowebui";

    /// <summary>
    /// No task ids: <c>force_task_id</c> is ignored and there is no <c>/internal/pending-tasks</c> (SD.Next, old A1111). Only for all
    /// requests.
    /// </summary>
    public const string NoTasks = "notasks";

    /// <summary>401: wrong password. Set for all requests, it hits every endpoint.</summary>
    public const string Unauthorized = "401";

    /// <summary>503 without JSON, as from a proxy whose server is down. Set for all requests, it hits every endpoint.</summary>
    public const string Unavailable = "unavailable";

    /// <summary>
    /// 404 under <c>/sdapi</c> while <c>/internal</c> answers: a server that still starts. Set for all requests, it hits all of
    /// <c>/sdapi</c>.
    /// </summary>
    public const string Loading = "loading";

    private readonly Lock _gate = new();
    private string? _fault;
    private int? _timesLeft;
    private TaskCompletionSource _cleared = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The names that exist.</summary>
    public static IReadOnlyList<string> Known { get; } =
    [
        Slow, Stalled, ServerError, ServerErrorOfA1111, OutOfMemory, Reset, Truncated, CutImage, Garbage, Empty, Blank, NotJson,
        Jpeg, WebP, Invalid, Rejected, Unauthorized, Unavailable, Loading, Hang, Cuda, SlowLoad, Nan, Firewall, GatewayTimeout,
        NoWebUi, NoTasks, NoModel,
    ];

    /// <summary>The fault that is set for all requests, or null, and how many more requests it hits (null: all).</summary>
    public (string? Fault, int? TimesLeft) Current
    {
        get
        {
            lock (_gate)
                return (_fault, _timesLeft);
        }
    }

    /// <summary>Ends at the next <see cref="Clear"/>.</summary>
    internal Task Cleared
    {
        get
        {
            lock (_gate)
                return _cleared.Task;
        }
    }

    /// <summary>The known name that equals this one but for case; null when there is none.</summary>
    public static string? Find(string name) => Known.FirstOrDefault(known => known.Equals(name.Trim(), StringComparison.OrdinalIgnoreCase));

    /// <summary>A sentence that names what exists.</summary>
    public static string Explain(string name) => $"There is no fault '{name}'. These exist: {string.Join(", ", Known)}.";

    /// <summary>Sets a fault for all requests, in place of the one set before.</summary>
    /// <param name="fault">One of <see cref="Known"/>.</param>
    /// <param name="times">How many requests it hits; null: all until <see cref="Clear"/>.</param>
    /// <exception cref="ArgumentException">There is no such fault, or <paramref name="times"/> is less than 1.</exception>
    public void Set(string fault, int? times = null)
    {
        var known = Find(fault) ?? throw new ArgumentException(Explain(fault), nameof(fault));
        const string AtLeastOne = "times must be at least 1; leave it out for a fault that stays until it is cleared.";
        if (times < 1)
            throw new ArgumentException(AtLeastOne, nameof(times));
        lock (_gate)
            (_fault, _timesLeft) = (known, times);
    }

    /// <summary>Ends the fault; those in prompts stay.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            (_fault, _timesLeft) = (null, null);
            _cleared.SetResult();
            _cleared = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>The profile without what a fault takes away.</summary>
    internal SimulatorProfile Narrow(SimulatorProfile profile) => Current.Fault switch
    {
        NoWebUi => profile with { HasInternal = false },
        NoTasks => profile with { HasTaskIds = false },
        NoModel => profile with { HasModels = false },
        _ => profile,
    };

    /// <summary>The fault word in a prompt, if there is one, known or not, and for how many arrivals of the prompt it counts.</summary>
    public static (string? Name, int? Times) InPrompt(string prompt)
    {
        var match = FaultWord().Match(prompt);
        return match.Success
            ? (match.Groups["name"].Value, int.TryParse(match.Groups["times"].ValueSpan, out var times) ? times : null)
            : (null, null);
    }

    /// <summary>The fault set for all requests if <paramref name="hits"/> it, counted as used.</summary>
    internal string? Take(Func<string, bool> hits)
    {
        lock (_gate)
        {
            if (_fault is not { } fault || !hits(fault))
                return null;
            if (_timesLeft is { } left && (_timesLeft = left - 1) == 0)
                (_fault, _timesLeft) = (null, null);
            return fault;
        }
    }

    [GeneratedRegex(
        @"\[fault:\s*(?<name>[^\]*]*?)\s*(\*\s*(?<times>[0-9]{1,6})\s*)?\]", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex FaultWord();
}
