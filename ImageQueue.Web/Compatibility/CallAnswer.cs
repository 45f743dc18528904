using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>Answers calls that may wait for long.</summary>
internal sealed class CallAnswer(CallWaits waits, TimeProvider time, IOptions<CompatibilityOptions> options)
{
    private static readonly TimeSpan KeepAliveInterval = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Waits for a call's images and writes the answer as JSON, with blanks before it once the call has waited for
    /// <see cref="CompatibilityOptions.KeepAliveAfter"/>; without that, the status is decided at the end.
    /// </summary>
    /// <exception cref="ProblemException">The call failed before anything was sent.</exception>
    public async Task WriteAsync(HttpContext http, ImageCall call, Func<CancellationToken, Task<object>> answer)
    {
        var running = RunAsync(http.RequestAborted);
        if (options.Value.KeepAliveAfter is { } after && !await EndsWithinAsync(running, after))
        {
            http.Response.ContentType = CompatibilityJson.ContentType;
            do
            {
                // JSON allows blanks before a value (RFC 8259, section 2).
                await http.Response.WriteAsync(" ", http.RequestAborted);
                await http.Response.Body.FlushAsync(http.RequestAborted);
            }
            while (!await EndsWithinAsync(running, KeepAliveInterval));
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

        async Task<object> RunAsync(CancellationToken cancellationToken)
        {
            await call.EndAsync(waits, cancellationToken);
            return await answer(cancellationToken);
        }
    }

    private async Task<bool> EndsWithinAsync(Task task, TimeSpan patience)
    {
        // WaitAsync throws what the task throws, or that the time is over; either is seen by whether the task has ended.
        await task.WaitAsync(patience, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }
}
