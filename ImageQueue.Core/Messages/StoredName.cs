namespace ImageQueue.Core.Messages;

/// <summary>Usernames and conversation ids in Unicode's NFC, so that é typed on one keyboard is é of another.</summary>
public static class StoredName
{
    /// <summary>The name in NFC. Text that is no valid Unicode stays as it is, to match nothing.</summary>
    public static string Normalize(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (System.Text.Ascii.IsValid(name))
            return name;
        for (var i = 0; i < name.Length; i++)
        {
            if (!char.IsSurrogate(name[i]))
                continue;
            if (i + 1 == name.Length || !char.IsSurrogatePair(name[i], name[i + 1]))
                return name;
            i++;
        }

        return name.Normalize();
    }
}
