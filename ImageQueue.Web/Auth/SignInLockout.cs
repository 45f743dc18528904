namespace ImageQueue.Web.Auth;

/// <summary>
/// Makes an address wait that has sent several wrong keys with the same beginning to <c>/login</c>. A valid key is never refused. It
/// counts in this process alone: keys cannot be guessed anyway, and this keeps the audit log readable.
/// </summary>
public sealed class SignInLockout(IOptions<AuthOptions> options, TimeProvider time)
{
    /// <summary>Beyond this many addresses the oldest are dropped.</summary>
    private const int MaxAddresses = 10_000;

    /// <summary>
    /// The role in a key, such as <c>iq_operator_</c>: enough to tell an operator's typing error from a script beside it.
    /// </summary>
    private const int PrefixLength = 12;

    private readonly Dictionary<(string Address, string KeyPrefix), Failures> _failures = [];
    private readonly Lock _lock = new();

    /// <summary>How long the address still has to wait; null when it need not.</summary>
    public TimeSpan? WaitOf(string address, string key)
    {
        lock (_lock)
        {
            return _failures.TryGetValue(PlaceOf(address, key), out var failures) && failures.Count >= options.Value.MaxFailedSignIns
                && failures.Until - time.GetUtcNow() is { Ticks: > 0 } wait ? wait : null;
        }
    }

    /// <returns>Whether the address has to wait from now on.</returns>
    public bool Fail(string address, string key)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            var count = _failures.TryGetValue(PlaceOf(address, key), out var earlier) && earlier.Until > now ? earlier.Count + 1 : 1;
            _failures[PlaceOf(address, key)] = new Failures(count, now + options.Value.Lockout);
            if (_failures.Count > MaxAddresses)
                _failures.Remove(_failures.MinBy(failure => failure.Value.Until).Key);
            return count >= options.Value.MaxFailedSignIns;
        }
    }

    /// <summary>A valid key clears the address's failures.</summary>
    public void Succeed(string address)
    {
        lock (_lock)
        {
            foreach (var place in _failures.Keys.Where(place => place.Address == address).ToList())
                _failures.Remove(place);
        }
    }

    private static (string Address, string KeyPrefix) PlaceOf(string address, string key) =>
        (address, key[..Math.Min(key.Length, PrefixLength)]);

    private readonly record struct Failures(int Count, DateTimeOffset Until);
}
