using Hangfire;
using Hangfire.Server;

namespace ImageQueue.Core.Queue;

/// <summary>The Hangfire job of one image request, as Hangfire stores it.</summary>
public interface IImageJob
{
    /// <summary>
    /// Failures are counted in the row: a Hangfire retry would send the request to the queue's tail. The job logs them itself: Hangfire's
    /// entry would be an error with a stack, also for what a request brings about by itself.
    /// </summary>
    [AutomaticRetry(Attempts = 0, LogEvents = false)]
    Task RunAsync(long messageId, PerformContext context, CancellationToken cancellationToken);
}

/// <summary>An image request has ended in error; thrown so that Hangfire's job is Failed. The message row says the same.</summary>
internal sealed class ImageRequestFailedException : Exception
{
    /// <param name="sentence">For the user.</param>
    public ImageRequestFailedException(string sentence)
        : base(sentence)
    {
        // No fault of a line of code: Hangfire, which reads a stack under this key (ShallowExceptionHelper), has none to show.
        Data["OriginalStackTrace"] = "";
    }
}
