using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;

namespace ImageQueue.Tests.Generation;

/// <summary>
/// A queue over several backends in simulated time: the product's circuit breakers, policy and ledger, and around them what pool, monitor
/// and job do, without threads, HTTP or a database. Requests and backends have faults of their own.
/// </summary>
internal sealed class BlameSimulation
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan ProbePause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CanaryTime = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan VerdictPatience = TimeSpan.FromSeconds(20);

    private readonly FailurePolicy _policy;
    private readonly DisruptionLedger _ledger;
    private readonly List<Server> _servers;
    private readonly List<Request> _queue;
    private readonly List<Request> _held = [];
    private readonly PriorityQueue<Action, (DateTimeOffset At, long Number)> _events = new();
    private long _number;

    public BlameSimulation(FailurePolicy policy, IEnumerable<Server> servers, IEnumerable<Request> requests)
    {
        _policy = policy;
        _servers = [.. servers];
        Requests = [.. requests];
        _queue = [.. Requests];
        _ledger = new DisruptionLedger(() => _servers.ToDictionary(server => server.Name, server => server.Completed));
    }

    /// <summary>What a backend does to whatever runs there.</summary>
    public enum Fault
    {
        None,
        Dead,
        Refuses,
        BreaksOff,
        FailsAll,
    }

    /// <summary>What a request does wherever it runs.</summary>
    public enum Poison
    {
        None,
        KillsTheServer,
        BreaksOff,
        OutlastsTheProxy,
        Fails,
    }

    public IReadOnlyList<Request> Requests { get; }

    public DateTimeOffset Now { get; private set; } = Start;

    /// <summary>Runs until all requests are over, or for so long.</summary>
    public void Run(TimeSpan limit)
    {
        foreach (var server in _servers)
            Probe(server);
        Dispatch();
        while (Requests.Any(request => request.Status is not ("complete" or "error"))
            && Now - Start < limit
            && _events.TryDequeue(out var next, out var due))
        {
            Advance(due.At);
            next();
            Dispatch();
        }
    }

    /// <summary>Keeps how long each server did nothing while requests waited that it had not failed.</summary>
    private void Advance(DateTimeOffset to)
    {
        foreach (var server in _servers.Where(
            server => !server.IsBusy && _queue.Exists(request => !request.FailedOn.Contains(server.Name))))
        {
            server.IdleWhileOthersWait += to - Now;
        }

        Now = to;
    }

    private void Dispatch()
    {
        foreach (var request in _queue.ToArray())
        {
            if (!_servers.Exists(server => !server.IsBusy && server.Health.IsClosed))
                return;
            var usable = _servers.Where(server => server.Health.IsClosed).ToList();
            var preferred = usable.Where(server => !request.FailedOn.Contains(server.Name)).ToList();
            if ((preferred.Count > 0 ? preferred : usable).Find(server => !server.IsBusy) is not { } free)
                continue;
            _queue.Remove(request);
            Begin(request, free);
        }
    }

    private void Begin(Request request, Server server)
    {
        if (_ledger.TakeDecided(request.Id) is { } earlier)
        {
            Settle(request, server, Count(request, server, earlier));
            return;
        }

        if (request.Poison != Poison.None)
            server.ExcusedIdleTime += request.Downtime + ProbePause + CanaryTime;
        server.IsBusy = true;
        var sentAt = Now;
        After(request.Time, () =>
        {
            server.IsBusy = false;
            End(request, server, Generate(request, server, sentAt));
        });
    }

    /// <summary>The answer to a request; null: an image.</summary>
    private ForgeFailure? Generate(Request request, Server server, DateTimeOffset sentAt)
    {
        if (server.FaultAt(sentAt) is Fault.Dead or Fault.Refuses)
            return ForgeFailure.Unavailable;
        if (server.FaultAt(Now) is Fault.Dead or Fault.BreaksOff)
            return ForgeFailure.Disrupted;
        if (server.FaultAt(Now) == Fault.FailsAll)
            return ForgeFailure.Failed;
        if (request.Poison == Poison.KillsTheServer)
            server.DeadUntil = Now + request.Downtime;
        return request.Poison switch
        {
            Poison.KillsTheServer or Poison.BreaksOff => ForgeFailure.Disrupted,
            Poison.OutlastsTheProxy => ForgeFailure.GatewayTimeout,
            Poison.Fails => ForgeFailure.Failed,
            _ => null,
        };
    }

    private void End(Request request, Server server, ForgeFailure? failure)
    {
        if (failure is null)
        {
            server.Completed++;
            server.Health.RequestCompleted();
            request.Status = "complete";
            return;
        }

        var outcome = AttemptOutcome.Of(new ForgeException(failure.Value, $"{failure}"), isStopping: false);
        var signal = _policy.Resolve(outcome, request.Row).Signal;
        if (signal == BackendSignal.Unavailable)
            server.Health.RequestRefused("refused", Now);
        else if (signal == BackendSignal.Disrupted)
            server.Health.RequestDisrupted("disrupted", Now);
        else
            server.Health.RequestFailed($"{request.Id}", "failed", signal == BackendSignal.FailedForGood, Now);
        if (server.Health.IsClosed || signal == BackendSignal.Unavailable)
        {
            Settle(request, server, outcome);
            return;
        }

        var verdict = new TaskCompletionSource<bool>();
        server.Verdicts.Add(verdict);
        _held.Add(request);
        var until = Now + VerdictPatience;
        server.Decided += Decide;
        After(VerdictPatience, Decide);
        Probe(server);

        void Decide()
        {
            var otherCanHaveIt = !_policy.IsLastDisruption(request.Disruptions + _ledger.CountOpen(request.Id) + 1)
                && server.Health is { IsHealthy: false, IsReachable: false }
                && _servers.Any(other => other.Health.IsClosed);
            if (!_held.Contains(request) || !(verdict.Task.IsCompleted || otherCanHaveIt || Now >= until))
                return;
            _held.Remove(request);
            server.Decided -= Decide;
            bool? isRequestAtFault = verdict.Task.IsCompleted ? verdict.Task.Result : null;
            if (isRequestAtFault is null && signal == BackendSignal.Disrupted)
                _ledger.Add(request.Id, server.Name, outcome.Cause!, verdict.Task);
            var judged = outcome with { IsBackendAtFault = isRequestAtFault != true };
            Settle(
                request,
                server,
                judged is { Result: AttemptResult.Disrupted, IsBackendAtFault: false } ? Count(request, server, judged) : judged);
        }
    }

    private AttemptOutcome Count(Request request, Server server, AttemptOutcome outcome) =>
        outcome with { HaveOthersCompleted = _ledger.HaveOthersCompleted(request.Id, outcome.EarlierBackend ?? server.Name) };

    private void Settle(Request request, Server server, AttemptOutcome outcome)
    {
        var resolution = _policy.Resolve(outcome, request.Row);
        request.Failures += resolution.Charge == AttemptCharge.Failure ? 1 : 0;
        request.Disruptions += resolution.Charge == AttemptCharge.Disruption
            || (resolution.Row == RowChange.Fail && outcome.Result == AttemptResult.Disrupted)
            ? 1
            : 0;
        request.FailedOn.Add(outcome.EarlierBackend ?? server.Name);
        switch (resolution.Row)
        {
            case RowChange.Fail:
                request.Status = "error";
                _ledger.Forget(request.Id);
                break;
            case RowChange.RequeueAtTail:
                request.FailedOn.Clear(); // A new job.
                _queue.Add(request);
                break;
            default:
                _queue.Insert(0, request);
                break;
        }
    }

    private void Probe(Server server)
    {
        if (server.FaultAt(Now) == Fault.Dead)
            server.Health.ProbeFailed("connection refused", Now);
        else
            server.Health.ProbeSucceeded(Now);
        Decided(server, server.Health.IsClosed ? true : null);
        if (!server.IsBusy && server.Health.IsCanaryDue(Now))
        {
            server.IsBusy = true;
            After(CanaryTime, () => EndCanary(server));
        }

        if (!server.IsProbed)
        {
            server.IsProbed = true;
            After(ProbePause, () =>
            {
                server.IsProbed = false;
                Probe(server);
            });
        }
    }

    private void EndCanary(Server server)
    {
        server.IsBusy = false;
        switch (server.FaultAt(Now))
        {
            case Fault.None:
                server.Health.CanarySucceeded(Now);
                Decided(server, true);
                break;
            case Fault.Dead or Fault.Refuses:
                server.Health.RequestRefused("refused", Now);
                break;
            default:
                server.Health.CanaryFailed("failed", Now);
                Decided(server, false);
                break;
        }
    }

    private static void Decided(Server server, bool? isRequestAtFault)
    {
        if (isRequestAtFault is { } verdict)
        {
            server.Verdicts.ForEach(one => one.SetResult(verdict));
            server.Verdicts.Clear();
        }

        server.RaiseDecided();
    }

    private void After(TimeSpan time, Action action) => _events.Enqueue(action, (Now + time, ++_number));

    public sealed class Server(string name)
    {
        public string Name => name;

        public BackendHealth Health { get; } = new(Start);

        /// <summary>Its own fault, and when it has it.</summary>
        public (Fault Fault, TimeSpan From, TimeSpan To) Own { get; init; }

        public DateTimeOffset DeadUntil { get; set; }

        public bool IsBusy { get; set; }

        public bool IsProbed { get; set; }

        public long Completed { get; set; }

        public TimeSpan IdleWhileOthersWait { get; set; }

        /// <summary>What the poison requests that it was sent may cost it.</summary>
        public TimeSpan ExcusedIdleTime { get; set; }

        public List<TaskCompletionSource<bool>> Verdicts { get; } = [];

        public event Action? Decided;

        public void RaiseDecided() => Decided?.Invoke();

        public Fault FaultAt(DateTimeOffset at) =>
            at < DeadUntil ? Fault.Dead : at - Start >= Own.From && at - Start < Own.To ? Own.Fault : Fault.None;
    }

    public sealed class Request(long id, Poison poison, TimeSpan time)
    {
        public long Id => id;

        public Poison Poison => poison;

        /// <summary>How long it is generated.</summary>
        public TimeSpan Time => time;

        /// <summary>For how long the server is away that it kills.</summary>
        public TimeSpan Downtime { get; init; }

        public string Status { get; set; } = "queued";

        public int Failures { get; set; }

        public int Disruptions { get; set; }

        public HashSet<string> FailedOn { get; } = [];

        public Message Row => FailurePolicyTests.Row(Failures, Disruptions, id);
    }
}
