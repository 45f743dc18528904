using System.Buffers.Binary;

namespace ImageQueue.Core.Storage.SqlServer;

/// <summary>
/// SQL Server's <c>rowversion</c>: eight bytes, big-endian. Compared as bytes, since a comparison as a number would not use the index.
/// </summary>
internal static class RowVersion
{
    public const int Size = 8;

    public static long ToInt64(byte[]? version) => version is null ? 0 : BinaryPrimitives.ReadInt64BigEndian(version);

    public static byte[] ToBytes(long revision)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(bytes, revision);
        return bytes;
    }
}
