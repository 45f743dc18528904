using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;

namespace ImageQueue.Tests.Support;

/// <summary>A clock that stands still until a test moves it, and that counts the waits for it.</summary>
internal sealed class WaitedClock : FakeTimeProvider
{
    private readonly ConcurrentDictionary<TimeSpan, int> _waits = new();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = base.CreateTimer(callback, state, dueTime, period);
        _waits.AddOrUpdate(dueTime, 1, (_, count) => count + 1);
        return timer;
    }

    /// <summary>How many waits of that length have begun.</summary>
    public int Waits(TimeSpan time) => _waits.GetValueOrDefault(time);

    /// <summary>Waits until so many waits of that length have begun.</summary>
    public Task WaitedForAsync(TimeSpan time, int times) =>
        Until.TrueAsync(() => Waits(time) >= times, $"a wait of {time} begins for the {times}. time");
}
