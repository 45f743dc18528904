using System.Buffers;

namespace ImageQueue.Core.Forge;

/// <summary>
/// A response body read whole into rented memory: an image's answer is megabytes of base64, and a fresh array for each
/// would keep the large object heap busy. Dispose returns the memory.
/// </summary>
internal sealed class ForgeBody : IDisposable
{
    private byte[] _buffer;
    private int _length;

    private ForgeBody(int capacity) => _buffer = ArrayPool<byte>.Shared.Rent(capacity);

    public ReadOnlyMemory<byte> Bytes => _buffer.AsMemory(0, _length);

    /// <param name="maxBytes">Bytes, decompressed; reading stops there.</param>
    /// <exception cref="ForgeBodyTooLongException">It is longer than <paramref name="maxBytes"/>.</exception>
    /// <exception cref="IOException">The connection broke before the end; other exceptions of the transport may say the same.</exception>
    public static async Task<ForgeBody> ReadAsync(HttpContent content, int maxBytes, CancellationToken cancellationToken)
    {
        var announced = content.Headers.ContentLength;
        if (announced > maxBytes)
            throw new ForgeBodyTooLongException(maxBytes);

        // One byte more than announced, so that the read that finds the end needs no larger buffer.
        var body = new ForgeBody((int)Math.Min(announced + 1 ?? 64 * 1024, maxBytes));
        try
        {
            await using var stream = await content.ReadAsStreamAsync(cancellationToken);
            while (true)
            {
                if (body._length == body._buffer.Length)
                    body.Grow();
                var read = await stream.ReadAsync(body._buffer.AsMemory(body._length), cancellationToken);
                if (read == 0)
                    return body;
                body._length += read;
                if (body._length > maxBytes)
                    throw new ForgeBodyTooLongException(maxBytes);
            }
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        var buffer = _buffer;
        _buffer = [];
        _length = 0;
        if (buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(buffer);
    }

    private void Grow()
    {
        var larger = ArrayPool<byte>.Shared.Rent(checked(_buffer.Length * 2));
        _buffer.AsSpan(0, _length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}

/// <summary>A body is longer than its limit.</summary>
internal sealed class ForgeBodyTooLongException(int maxBytes) : Exception($"longer than {maxBytes / (1024 * 1024)} MB");
