using Microsoft.Extensions.Caching.Memory;

namespace ImageQueue.Web.Compatibility;

/// <summary>The callers of A1111's API, and the model that each has chosen by <c>POST /sdapi/v1/options</c>.</summary>
/// <remarks>Kept in memory: a process that restarts answers with the default model, and clients set theirs again.</remarks>
internal sealed class A1111Callers(Callers callers) : IDisposable
{
    private const int MaxCallers = 10_000;

    private readonly MemoryCache _models = new(new MemoryCacheOptions { SizeLimit = MaxCallers });

    /// <summary>The caller of a request.</summary>
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

    /// <inheritdoc/>
    public void Dispose() => _models.Dispose();
}
