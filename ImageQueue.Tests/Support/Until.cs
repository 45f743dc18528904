using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>Waits for a condition that something outside the test brings about.</summary>
internal static class Until
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Fails when the condition is still false after the patience, half a minute by default.</summary>
    public static Task TrueAsync(Func<bool> condition, string? what = null, TimeSpan? patience = null) =>
        TrueAsync(() => Task.FromResult(condition()), what, patience);

    /// <inheritdoc cref="TrueAsync(Func{bool}, string?, TimeSpan?)"/>
    public static async Task TrueAsync(Func<Task<bool>> condition, string? what = null, TimeSpan? patience = null)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            if (TimeProvider.System.GetElapsedTime(started) > (patience ?? Patience))
                Assert.Fail($"Still false after {patience ?? Patience}: {what ?? "the condition"}.");
            await Task.Delay(10);
        }
    }
}
