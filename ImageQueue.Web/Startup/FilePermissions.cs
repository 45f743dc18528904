using System.Runtime.InteropServices;

namespace ImageQueue.Web.Startup;

/// <summary>Who may read the files that the app creates: its database and its images.</summary>
internal static class FilePermissions
{
    private const uint OwnerOnly = 0b000_111_111;

    /// <summary>Masks that no operator has set on purpose: of a shell, of a service manager, and none.</summary>
    private static readonly uint[] Defaults = [0b000_010_010, 0b000_000_010, 0];

    /// <summary>Creates new files 0600 and folders 0700, unless the operator has set a umask.</summary>
    public static void KeepNewFilesPrivate()
    {
        if (OperatingSystem.IsWindows())
            return;
        var set = SetMask(OwnerOnly);
        if (!Defaults.Contains(set))
            _ = SetMask(set);
    }

#pragma warning disable SYSLIB1054 // LibraryImport would make the whole project unsafe for one call of two numbers.
    [DllImport("libc", EntryPoint = "umask")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint SetMask(uint mask);
#pragma warning restore SYSLIB1054
}
