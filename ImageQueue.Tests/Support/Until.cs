using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>Waits for a condition.</summary>
internal static class Until
{
    /// <summary>Fails when it does not come true within half a minute.</summary>
    public static async Task TrueAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.That(TimeProvider.System.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(30)));
            await Task.Delay(10);
        }
    }
}
