using System.Buffers.Binary;

namespace ImageQueue.Core.Generation;

/// <summary>A PNG's chunks without its pixels: its end, and the texts in it (PNG specification, sections 5.3 and 11.3).</summary>
internal static class PngChunks
{
    /// <summary>Length, type and checksum.</summary>
    private const int Overhead = 12;

    private static readonly uint[] CrcTable = [.. Enumerable.Range(0, 256).Select(n => CrcOf((uint)n))];

    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    /// <summary>
    /// Whether the chunks lead to IEND within the bytes. Decoding stops at the last pixel and would not notice that the rest is missing.
    /// </summary>
    public static bool ReachesEnd(ReadOnlySpan<byte> png)
    {
        for (var rest = png[Signature.Length..]; TryReadChunk(rest, out var type, out var length); rest = rest[length..])
        {
            if (type.SequenceEqual("IEND"u8))
                return true;
        }

        return false;
    }

    /// <summary>
    /// The PNG without texts and EXIF; the same memory when it has none. libpng copies a text while it reads it, so that 4 MB of text
    /// take seconds to decode.
    /// </summary>
    public static ReadOnlyMemory<byte> WithoutText(ReadOnlyMemory<byte> png, bool keepExif = false)
    {
        var kept = new List<Range>();
        var start = 0;
        var at = Signature.Length;
        while (TryReadChunk(png.Span[at..], out var type, out var length))
        {
            if (IsText(type) && !(keepExif && type.SequenceEqual("eXIf"u8)))
            {
                kept.Add(start..at);
                start = at + length;
            }

            at += length;
        }

        if (kept.Count == 0)
            return png;
        kept.Add(start..png.Length);
        var result = new byte[kept.Sum(range => range.GetOffsetAndLength(png.Length).Length)];
        var written = 0;
        foreach (var range in kept)
        {
            png.Span[range].CopyTo(result.AsSpan(written));
            written += range.GetOffsetAndLength(png.Length).Length;
        }

        return result;
    }

    /// <summary>The PNG with a text in UTF-8 (iTXt) after its header.</summary>
    public static ReadOnlyMemory<byte> WithText(ReadOnlySpan<byte> png, string keyword, string text)
    {
        // Keyword, then no compression, no language, no translated keyword.
        byte[] data = [.. "iTXt"u8, .. Encoding.Latin1.GetBytes(keyword), 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)];
        var chunk = new byte[data.Length + 8];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length - 4);
        data.CopyTo(chunk, 4);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(data.Length + 4), Crc(data));

        TryReadChunk(png[Signature.Length..], out _, out var header);
        return (byte[])[.. png[..(Signature.Length + header)], .. chunk, .. png[(Signature.Length + header)..]];
    }

    private static bool IsText(ReadOnlySpan<byte> type) =>
        type.SequenceEqual("tEXt"u8) || type.SequenceEqual("zTXt"u8) || type.SequenceEqual("iTXt"u8) || type.SequenceEqual("eXIf"u8);

    /// <param name="length">Of the whole chunk.</param>
    private static bool TryReadChunk(ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> type, out int length)
    {
        type = default;
        length = 0;
        if (rest.Length < Overhead)
            return false;
        var data = BinaryPrimitives.ReadUInt32BigEndian(rest);
        if (data > rest.Length - Overhead)
            return false;
        type = rest.Slice(4, 4);
        length = (int)data + Overhead;
        return true;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var one in bytes)
            crc = CrcTable[(byte)(crc ^ one)] ^ (crc >> 8);
        return ~crc;
    }

    private static uint CrcOf(uint n)
    {
        for (var bit = 0; bit < 8; bit++)
            n = (n & 1) != 0 ? 0xEDB88320 ^ (n >> 1) : n >> 1;
        return n;
    }
}
