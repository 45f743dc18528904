using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;

namespace ImageQueue.Tests.Support;

/// <summary>A clock that stands still until a test moves it, and that says when somebody has begun to wait for it.</summary>
internal sealed class WaitedClock : FakeTimeProvider
{
    private readonly ConcurrentDictionary<TimeSpan, int> _waits = new();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = base.CreateTimer(callback, state, dueTime, period);
        _waits.AddOrUpdate(dueTime, 1, (_, count) => count + 1);
        return timer;
    }

    /// <summary>How often somebody has begun to wait that long.</summary>
    public int Waits(TimeSpan time) => _waits.GetValueOrDefault(time);

    /// <summary>Until somebody has begun to wait that long, so many times in all.</summary>
    public Task WaitedForAsync(TimeSpan time, int times) =>
        Until.TrueAsync(() => Waits(time) >= times, $"somebody waits {time} for the {times}. time");
}
