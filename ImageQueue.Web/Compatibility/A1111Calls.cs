using ImageQueue.Core.Generation;
using ImageQueue.Core.Requests;

namespace ImageQueue.Web.Compatibility;

/// <summary>What all calls for images have in common: the model and the key before, the answer after.</summary>
internal sealed class A1111Calls(
    CallWaits waits, A1111Callers callers, ModelChoices models, ImageLocator images, IOptions<CompatibilityOptions> options)
{
    /// <summary>The requests of a call, with the caller's model where it names none.</summary>
    /// <exception cref="Errors.ProblemException">A field is not valid.</exception>
    public IReadOnlyList<ImageRequest> Read(HttpContext http, A1111ImageBody body)
    {
        var model = models.Find(body.Checkpoint ?? callers.ModelOf(http)) ?? default;
        var key = http.Request.Headers["Idempotency-Key"] is [{ Length: > 0 } sent, ..]
            ? sent
            : body.ForceTaskId is { Length: > 0 } task ? A1111Task.KeyOf(task) : null;
        return body.ToRequests(model, key);
    }

    /// <summary>Waits for the images, and writes the answer.</summary>
    public Task WriteAsync(
        HttpContext http, ImageCall call, Func<IReadOnlyList<Message>, ImageLocator, CancellationToken, Task<object>> answer) =>
        CallAnswer.WriteAsync(http, options.Value.KeepAliveAfter, async cancellationToken =>
        {
            await call.EndAsync(waits, cancellationToken);
            return await answer(call.Messages, images, cancellationToken);
        });
}
