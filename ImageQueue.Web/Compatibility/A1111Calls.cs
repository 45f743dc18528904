using ImageQueue.Core.Requests;
using Microsoft.Extensions.Caching.Memory;

namespace ImageQueue.Web.Compatibility;

/// <summary>The callers of A1111's API, the model that each has chosen by <c>POST /sdapi/v1/options</c>, and their requests.</summary>
/// <remarks>Kept in memory: a process that restarts answers with the default model, and clients set theirs again.</remarks>
internal sealed class A1111Calls(Callers callers, ModelChoices models) : IDisposable
{
    private const int MaxCallers = 10_000;

    private readonly MemoryCache _models = new(new MemoryCacheOptions { SizeLimit = MaxCallers });

    public Caller Of(HttpContext http) => callers.Of(http, A1111Endpoints.Name, user: null);

    /// <summary>The model that the caller has chosen; null when it has chosen none.</summary>
    public string? ModelOf(HttpContext http) => _models.Get<string>(Of(http).Username);

    /// <summary>Remembers the caller's model; null or blank forgets it.</summary>
    public void Choose(HttpContext http, string? model)
    {
        if (string.IsNullOrWhiteSpace(model))
            _models.Remove(Of(http).Username);
        else
            _models.Set(Of(http).Username, model, new MemoryCacheEntryOptions { Size = 1 });
    }

    /// <summary>The request of a call, with the caller's model where it names none.</summary>
    /// <exception cref="Errors.ProblemException">A field is not valid.</exception>
    public ImageRequest Read(HttpContext http, A1111ImageBody body)
    {
        var model = models.Find(body.Checkpoint ?? ModelOf(http)) ?? default;
        var key = body.ForceTaskId is { Length: > 0 } task ? A1111Task.KeyOf(task) : ImageCalls.KeyOf(http);
        return body.ToRequest(model, key);
    }

    public void Dispose() => _models.Dispose();
}
