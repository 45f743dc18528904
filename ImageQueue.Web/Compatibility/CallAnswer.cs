using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>Answers calls that may wait for long.</summary>
internal static class CallAnswer
{
    private static readonly TimeSpan KeepAliveInterval = TimeSpan.FromSeconds(10);

    /// <summary>Runs a call and writes what it returns as JSON, with blanks before it once it has waited for long.</summary>
    /// <param name="http">The request.</param>
    /// <param name="keepAliveAfter">See <see cref="CompatibilityOptions.KeepAliveAfter"/>; null: the status is decided at the end.</param>
    /// <param name="run">The call.</param>
    /// <exception cref="ProblemException">The call failed before anything was sent.</exception>
    public static async Task WriteAsync(HttpContext http, TimeSpan? keepAliveAfter, Func<CancellationToken, Task<object>> run)
    {
        var time = http.RequestServices.GetRequiredService<TimeProvider>();
        var running = run(http.RequestAborted);
        if (keepAliveAfter is { } after && !await EndsWithinAsync(running, after, time))
        {
            http.Response.ContentType = CompatibilityJson.ContentType;
            do
            {
                // JSON allows blanks before a value (RFC 8259, section 2).
                await http.Response.WriteAsync(" ", http.RequestAborted);
                await http.Response.Body.FlushAsync(http.RequestAborted);
            }
            while (!await EndsWithinAsync(running, KeepAliveInterval, time));
        }

        object body;
        try
        {
            body = await running;
        }
        catch (ProblemException e) when (http.Response.HasStarted)
        {
            body = ProblemShapes.BodyOf(e.Problem, http);
        }

        http.Response.ContentType ??= CompatibilityJson.ContentType;
        await JsonSerializer.SerializeAsync(http.Response.Body, body, CompatibilityJson.Options, http.RequestAborted);
    }

    private static async Task<bool> EndsWithinAsync(Task task, TimeSpan patience, TimeProvider time)
    {
        // WaitAsync throws what the task throws, or that the time is over; either is seen by whether the task has ended.
        await task.WaitAsync(patience, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }
}
