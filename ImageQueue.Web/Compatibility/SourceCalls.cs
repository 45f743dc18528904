using System.Security.Cryptography;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using Microsoft.Extensions.Caching.Memory;

namespace ImageQueue.Web.Compatibility;

/// <summary>Submits calls that start from an image: uploads it first, and removes it again when the request is refused.</summary>
internal sealed class SourceCalls(
    ImageCalls calls, UploadImage uploads, UsedUploads used, IUploadStore store, Callers callers) : IDisposable
{
    /// <summary>As long as a client may repeat a call.</summary>
    private static readonly TimeSpan KeepFor = TimeSpan.FromHours(1);

    private readonly SemaphoreSlim _adding = new(1);

    /// <summary>The uploads of calls with a key: a repeated call must be the same request, and so name the same ones.</summary>
    private readonly MemoryCache _repeatable = new(new MemoryCacheOptions { SizeLimit = 10_000 });

    /// <summary>Submits all images of one call, or none of them.</summary>
    /// <param name="start">The image that all of them start from.</param>
    /// <param name="request">Its conversation and source are set here.</param>
    /// <exception cref="ProblemException">The request is not valid.</exception>
    /// <exception cref="UploadRefusedException">The image cannot be used.</exception>
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full; none was accepted.</exception>
    public async Task<ImageCall> SubmitAsync(
        Caller caller, CallSource start, ImageRequest request, CancellationToken cancellationToken)
    {
        (caller, var source) = await FindOrAddAsync(caller, start, request.IdempotencyKey, cancellationToken);
        try
        {
            return await calls.SubmitAsync(caller, request with { Source = source }, cancellationToken);
        }
        catch
        {
            // What a request of an earlier call names stays. A crash here leaves it to the clean-up.
            await used.RemoveUnusedAsync(source.Uploads, CancellationToken.None);
            throw;
        }
    }

    public void Dispose()
    {
        _repeatable.Dispose();
        _adding.Dispose();
    }

    private async Task<(Caller Caller, ImageSource Source)> FindOrAddAsync(
        Caller caller, CallSource start, string? key, CancellationToken cancellationToken)
    {
        if (key is null)
            return await AddAsync(caller, start, cancellationToken);
        var same = $"{caller.ConversationId}\u001f{key}\u001f{Hash(start.Image)}{Hash(start.Mask ?? [])}";
        await _adding.WaitAsync(cancellationToken); // Of two at once the second finds the first one's uploads.
        try
        {
            if (_repeatable.Get<(Caller Caller, ImageSource Source)?>(same) is { } known
                && await store.FindUploadAsync(known.Source.Uploads[0], cancellationToken) is not null)
            {
                return known with { Source = known.Source with { Strength = start.Strength, Upscale = start.Upscale } };
            }

            var added = await AddAsync(caller, start, cancellationToken);
            return _repeatable.Set(same, added, new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = KeepFor });
        }
        finally
        {
            _adding.Release();
        }
    }

    private Task<(Caller Caller, ImageSource Source)> AddAsync(
        Caller caller, CallSource start, CancellationToken cancellationToken) => callers.WriteAsync(caller, async one =>
    {
        var image = await AddAsync(one, start.Image, cancellationToken);
        try
        {
            var mask = start.Mask is null ? null : await AddAsync(one, start.Mask, cancellationToken);
            return (one, new ImageSource { UploadId = image, MaskUploadId = mask, Strength = start.Strength, Upscale = start.Upscale });
        }
        catch
        {
            await used.RemoveUnusedAsync([image], CancellationToken.None);
            throw;
        }
    });

    private static string Hash(byte[] bytes) => Convert.ToHexString(SHA256.HashData(bytes));

    private async Task<string> AddAsync(Caller caller, byte[] image, CancellationToken cancellationToken)
    {
        using var stream = new MemoryStream(image, writable: false);
        return (await uploads.AddAsync(caller.ConversationId, stream, cancellationToken)).Upload.Id;
    }
}
