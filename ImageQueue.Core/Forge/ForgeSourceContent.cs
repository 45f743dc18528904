using System.Buffers;
using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using Microsoft.Win32.SafeHandles;

namespace ImageQueue.Core.Forge;

/// <summary>
/// A JSON body with files in base64, read while it is sent: an image of megabytes is never in memory whole. Its length is known before,
/// since small servers do not read chunks. The files stay readable when they are removed meanwhile.
/// </summary>
internal sealed class ForgeSourceContent : HttpContent
{
    /// <summary>Bytes of a file that is sent: more than any image that is stored here.</summary>
    public const long MaxFileBytes = 128L * 1024 * 1024;

    /// <summary>A multiple of 3, so that base64 needs no padding before the end.</summary>
    private const int ChunkBytes = 3 * 16 * 1024;

    private readonly List<Part> _parts = [];

    /// <param name="body">A JSON object.</param>
    /// <param name="files">Further members of it: each with its file, and whether it is an array of that one.</param>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.SourceGone"/>: a file is not there.</exception>
    public ForgeSourceContent(byte[] body, params (string Name, string Path, bool IsArray)[] files)
    {
        Headers.ContentType = new MediaTypeHeaderValue("application/json");
        try
        {
            var before = body[..^1]; // Without its closing brace.
            foreach (var (name, path, isArray) in files)
            {
                byte[] member = [.. before.Length > 1 ? ","u8 : [], (byte)'"', .. Ascii(name), .. isArray ? "\":[\""u8 : "\":\""u8];
                _parts.Add(new Part([.. before, .. member], Open(path)));
                before = isArray ? [.. "\"]"u8] : [.. "\""u8];
            }

            _parts.Add(new Part([.. before, (byte)'}'], null));
        }
        catch
        {
            Dispose(true);
            throw;
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _parts.Sum(part => part.Json.Length + (part.File is null ? 0 : (part.Length + 2) / 3 * 4));
        return true;
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        var text = ArrayPool<byte>.Shared.Rent(ChunkBytes / 3 * 4);
        try
        {
            foreach (var part in _parts)
            {
                await stream.WriteAsync(part.Json, cancellationToken);
                for (long at = 0; at < part.Length;)
                {
                    var count = (int)Math.Min(ChunkBytes, part.Length - at);
                    await ReadAsync(part.File!, bytes.AsMemory(0, count), at, cancellationToken); // A part with a length has a file.
                    Base64.EncodeToUtf8(bytes.AsSpan(0, count), text, out _, out var written);
                    await stream.WriteAsync(text.AsMemory(0, written), cancellationToken);
                    at += count;
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<byte>.Shared.Return(text);
        }
    }

    protected override void Dispose(bool disposing)
    {
        foreach (var part in _parts)
            part.File?.Dispose();
        base.Dispose(disposing);
    }

    private static async Task ReadAsync(SafeFileHandle file, Memory<byte> chunk, long at, CancellationToken cancellationToken)
    {
        while (chunk.Length > 0)
        {
            var read = await RandomAccess.ReadAsync(file, chunk, at, cancellationToken);
            if (read == 0)
                throw new IOException("The source image became shorter while it was sent.");
            (chunk, at) = (chunk[read..], at + read);
        }
    }

    private static SafeFileHandle Open(string path)
    {
        SafeFileHandle file;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, FileOptions.Asynchronous);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ForgeException(ForgeFailure.SourceGone, "the source image has been removed", exception);
        }

        if (RandomAccess.GetLength(file) <= MaxFileBytes)
            return file;
        file.Dispose();
        throw new ForgeException(ForgeFailure.Rejected, $"the source image is larger than {MaxFileBytes / (1024 * 1024)} MiB");
    }

    private static byte[] Ascii(string text) => System.Text.Encoding.ASCII.GetBytes(text);

    private sealed record Part(byte[] Json, SafeFileHandle? File)
    {
        public long Length { get; } = File is null ? 0 : RandomAccess.GetLength(File);
    }
}
