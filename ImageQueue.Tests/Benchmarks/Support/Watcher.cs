using System.Diagnostics;
using System.Net.Sockets;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>
/// A client of an event stream that costs as little as one can, since it runs on the server's own cores. Each event tells it in
/// <see cref="Field"/> when its write began.
/// </summary>
internal sealed class Watcher : IDisposable
{
    public const string Field = "written_at";

    private static readonly byte[] Mark = Encoding.ASCII.GetBytes($"\"{Field}\":\"");

    private readonly TcpClient _client = new();
    private readonly byte[] _buffer = new byte[8 * 1024];
    private readonly Latencies _latencies;

    private Watcher(Latencies latencies) => _latencies = latencies;

    public static async Task<Watcher> ConnectAsync(Uri server, Latencies latencies, string conversation)
    {
        var watcher = new Watcher(latencies);
        await watcher._client.ConnectAsync(server.Host, server.Port);
        await watcher._client.GetStream().WriteAsync(
            Encoding.ASCII.GetBytes($"GET /api/conversations/{conversation}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        var read = await watcher._client.GetStream().ReadAsync(watcher._buffer);
        Assert.That(Encoding.ASCII.GetString(watcher._buffer, 0, read), Does.StartWith("HTTP/1.1 200"));
        _ = watcher.ReadAsync();
        return watcher;
    }

    /// <summary>What a write puts into <see cref="Field"/>.</summary>
    public static string Now() => Stopwatch.GetTimestamp().ToString(CultureInfo.InvariantCulture);

    public void Dispose() => _client.Dispose();

    private async Task ReadAsync()
    {
        try
        {
            var kept = 0;
            while (await _client.GetStream().ReadAsync(_buffer.AsMemory(kept)) is > 0 and var read)
                kept = Take(kept + read, Stopwatch.GetTimestamp());
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or SocketException or InvalidOperationException)
        {
            // Over.
        }
    }

    /// <returns>How much is kept for the next reading.</returns>
    private int Take(int length, long now)
    {
        var rest = _buffer.AsSpan(0, length);
        while (rest.IndexOf(Mark) is >= 0 and var at)
        {
            var value = rest[(at + Mark.Length)..];
            if (value.IndexOf((byte)'"') is not (>= 0 and var end))
            {
                rest = rest[at..];
                break;
            }

            if (long.TryParse(value[..end], CultureInfo.InvariantCulture, out var written))
                _latencies.Add(Stopwatch.GetElapsedTime(written, now));
            rest = value[end..];
        }

        var keep = rest.Length > 512 ? rest[^512..] : rest;
        keep.CopyTo(_buffer);
        return keep.Length;
    }
}
