using System.Buffers;
using System.IO.Pipelines;

namespace ImageQueue.Web.Push;

/// <summary>Writes an event stream in slices, so that a client that does not read holds one slice of memory, and not for long.</summary>
internal sealed class EventStream(PipeWriter body, TimeSpan slowestReader, TimeProvider time)
{
    /// <summary>Bytes between two flushes, and so the progress that a client has to make within <c>Push:SlowestReader</c>.</summary>
    private const int SliceBytes = 16 * 1024;

    private int _unflushed;

    /// <summary>Writes the bytes, and flushes whole slices.</summary>
    /// <exception cref="TimeoutException">The client has read nothing for too long.</exception>
    public async Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0)
        {
            var slice = bytes[..Math.Min(bytes.Length, SliceBytes - _unflushed)];
            body.Write(slice.Span);
            bytes = bytes[slice.Length..];
            _unflushed += slice.Length;
            if (_unflushed == SliceBytes)
                await FlushAsync(cancellationToken);
        }
    }

    /// <exception cref="TimeoutException">The client has read nothing for too long.</exception>
    /// <exception cref="OperationCanceledException">The client has gone.</exception>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        _unflushed = 0;
        var flush = body.FlushAsync(cancellationToken);
        var result = flush.IsCompletedSuccessfully ? flush.Result : await flush.AsTask().WaitAsync(slowestReader, time, cancellationToken);
        if (result.IsCompleted)
            throw new OperationCanceledException("The client has gone.");
    }
}
