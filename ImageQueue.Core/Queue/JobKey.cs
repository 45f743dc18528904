using System.Buffers.Binary;

namespace ImageQueue.Core.Queue;

/// <summary>A Hangfire id in 16 bytes: a GUID (Hangfire.InMemory) or a number (Hangfire.SqlServer). Its text takes a hundred.</summary>
internal static class JobKey
{
    public static bool TryParse(string hangfireJobId, out Guid key)
    {
        if (Guid.TryParseExact(hangfireJobId, "D", out key))
            return true;
        if (!long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return false;
        key = Of(number);
        return true;
    }

    public static Guid Of(long hangfireJobId)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        BinaryPrimitives.WriteInt64BigEndian(bytes[8..], hangfireJobId);
        return new Guid(bytes, bigEndian: true);
    }

    public static Guid Parse(string hangfireJobId) => TryParse(hangfireJobId, out var key)
        ? key
        : throw new FormatException($"The Hangfire id {hangfireJobId} is neither a GUID nor a number.");

    public static string Format(Guid key)
    {
        // A random GUID's upper half holds its version, so it is never all zero.
        Span<byte> bytes = stackalloc byte[16];
        key.TryWriteBytes(bytes, bigEndian: true, out _);
        return BinaryPrimitives.ReadInt64BigEndian(bytes) == 0
            ? BinaryPrimitives.ReadInt64BigEndian(bytes[8..]).ToString(CultureInfo.InvariantCulture)
            : key.ToString("D");
    }
}
