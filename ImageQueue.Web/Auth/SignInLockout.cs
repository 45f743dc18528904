using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Makes an address wait that has shown several wrong keys at <c>/login</c>. It counts in this process alone: keys cannot be
/// guessed anyway, and this keeps the audit log readable.
/// </summary>
public sealed class SignInLockout(IOptions<AuthOptions> options, TimeProvider time)
{
    /// <summary>Beyond this many addresses the oldest are dropped.</summary>
    private const int MaxAddresses = 10_000;

    private readonly Dictionary<string, Failures> _failures = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();

    /// <summary>How long the address still has to wait; null when it need not.</summary>
    public TimeSpan? WaitOf(string address)
    {
        lock (_lock)
        {
            return _failures.TryGetValue(address, out var failures) && failures.Count >= options.Value.MaxFailedSignIns
                && failures.Until - time.GetUtcNow() is { Ticks: > 0 } wait ? wait : null;
        }
    }

    /// <returns>Whether the address has to wait from now on.</returns>
    public bool Fail(string address)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            var count = _failures.TryGetValue(address, out var earlier) && earlier.Until > now ? earlier.Count + 1 : 1;
            _failures[address] = new Failures(count, now + options.Value.Lockout);
            if (_failures.Count > MaxAddresses)
                _failures.Remove(_failures.MinBy(failure => failure.Value.Until).Key);
            return count >= options.Value.MaxFailedSignIns;
        }
    }

    /// <summary>Clears the address's failures.</summary>
    public void Succeed(string address)
    {
        lock (_lock)
            _failures.Remove(address);
    }

    private readonly record struct Failures(int Count, DateTimeOffset Until);
}
