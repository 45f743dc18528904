using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Push;

/// <summary>Refuses new streams and hub connections once the app stops, and closes the open ones.</summary>
/// <remarks>
/// Kestrel's stop waits for every open request, and SignalR closes only the connections that are open when the stop begins
/// (HttpConnectionManager.CloseConnections): a client that reconnects in between would hold the stop until its timeout.
/// </remarks>
internal static class OpenStreams
{
    /// <summary>How long SignalR and the streams have to say goodbye before their connections are cut.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    public static void UseOpenStreams(this WebApplication app)
    {
        var stopping = app.Lifetime.ApplicationStopping;
        var cut = new CancellationTokenSource();
        stopping.Register(() => cut.CancelAfter(Grace));
        app.UseWhen(StreamAttribute.IsStream, streams => streams.Use(async (context, next) =>
        {
            if (stopping.IsCancellationRequested)
            {
                context.Response.Headers.RetryAfter = RetryAfter.TotalSeconds.ToString(CultureInfo.InvariantCulture);
                context.Response.Headers.Connection = "close";
                await Refusal.WriteAsync(
                    context, ProblemCodes.Stopping, "This server is stopping. Connect again after the time that Retry-After says.");
                return;
            }

            await using var cutting = cut.Token.UnsafeRegister(one => ((HttpContext)one!).Abort(), context);
            await next(context);
        }));
    }
}
