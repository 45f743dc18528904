using System.Buffers;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;

namespace ImageQueue.Core.Requests;

/// <summary>Takes an image that a request can start from: its file first, then its row.</summary>
public sealed class UploadImage(ImageFiles files, IUploadStore store) : IDisposable
{
    /// <summary>Longest upload.</summary>
    public const int MaxBytes = 20 * 1024 * 1024;

    /// <summary>Pixels; a larger image is made smaller.</summary>
    public const int MaxSide = 2048;

    /// <summary>One at a time: the pixels of a large photo take 250 MB.</summary>
    private readonly SemaphoreSlim _decoding = new(1, 1);

    /// <summary>Receives an image into a file, and stores it as PNG. A crash leaves files that the clean-up removes.</summary>
    /// <param name="body">The image's bytes.</param>
    /// <returns>The upload, and the bytes of its file.</returns>
    /// <exception cref="UploadRefusedException">It is too long, or no image that can be used.</exception>
    /// <exception cref="ConversationDeletedException">The conversation was erased.</exception>
    /// <exception cref="InvalidDataException">The body is a form that was cut short.</exception>
    /// <exception cref="IOException">It could not be stored.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public async Task<(Upload Upload, int Bytes)> AddAsync(string conversationId, Stream body, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(body);
        await using var received = files.CreateUploadTemporary();
        await ReceiveAsync(body, received, cancellationToken);
        await _decoding.WaitAsync(cancellationToken);
        CheckedImage image;
        try
        {
            image = Check(received);
        }
        finally
        {
            _decoding.Release();
        }

        var upload = new Upload(Guid.NewGuid().ToString("N"), conversationId, image.Width, image.Height);
        files.WriteUpload(upload.Id, image.Png);
        try
        {
            await store.AddUploadAsync(upload, cancellationToken);
        }
        catch
        {
            files.RemoveUpload(upload.Id);
            throw;
        }

        return (upload, image.Png.Length);
    }

    /// <inheritdoc/>
    public void Dispose() => _decoding.Dispose();

    private static async Task ReceiveAsync(Stream body, FileStream file, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(64 * 1024);
        try
        {
            while (await ReadAsync(body, buffer, cancellationToken) is > 0 and var read)
            {
                if (file.Position + read > MaxBytes)
                    throw UploadRefusedException.TooLarge();
                await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async ValueTask<int> ReadAsync(Stream body, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        try
        {
            return await body.ReadAsync(buffer, cancellationToken);
        }
        catch (IOException e) when (e.GetType() == typeof(IOException))
        {
            throw new InvalidDataException("The form ends before its last boundary.", e); // A server's own errors have types of their own.
        }
    }

    private static CheckedImage Check(FileStream file)
    {
        var bytes = new byte[file.Length];
        file.Position = 0;
        file.ReadExactly(bytes);
        try
        {
            return ImageCheck.ToUpload(bytes, MaxSide) ?? throw UploadRefusedException.OfType();
        }
        catch (ForgeException e)
        {
            throw UploadRefusedException.Invalid(e);
        }
    }
}

/// <summary>What was uploaded cannot be used.</summary>
public sealed class UploadRefusedException : Exception
{
    private UploadRefusedException(UploadRefusal why, string sentence, Exception? cause = null)
        : base(sentence, cause) => Why = why;

    public UploadRefusal Why { get; }

    public static UploadRefusedException TooLarge() => new(
        UploadRefusal.TooLarge, $"The image is larger than {UploadImage.MaxBytes / (1024 * 1024)} MiB; send a smaller one.");

    public static UploadRefusedException OfType() => new(UploadRefusal.Type, "This is no PNG, JPEG or WebP image; send one of these.");

    internal static UploadRefusedException Invalid(ForgeException cause) =>
        new(UploadRefusal.Invalid, $"The image cannot be used: {cause.Reason}. Send a whole PNG, JPEG or WebP image.", cause);
}

public enum UploadRefusal
{
    TooLarge,

    /// <summary>None of the formats that are read here, whatever its header says.</summary>
    Type,

    /// <summary>Broken, or with far too many pixels.</summary>
    Invalid,
}
