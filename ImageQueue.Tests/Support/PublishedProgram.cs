using System.Diagnostics;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>What <c>dotnet publish</c> makes of the build that is under test, in a folder that its user may not write.</summary>
internal sealed class PublishedProgram : IDisposable
{
    private const UnixFileMode Write = UnixFileMode.UserWrite | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    private const UnixFileMode ReadAndEnter = UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.GroupRead
        | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>
    /// No permission binds root: as root, the program is run as nobody. setpriv becomes what it starts, so that a signal reaches the
    /// program.
    /// </summary>
    private static readonly string[] AsNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

    private readonly TemporaryFolder _folder = new(isLarge: true);

    private PublishedProgram()
    {
    }

    /// <summary>Where the program is.</summary>
    public string Folder => Path.Combine(_folder.Path, "program");

    /// <summary>Publishes what has been built: two or three seconds.</summary>
    public static async Task<PublishedProgram> PublishAsync()
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("A folder is made read-only by Unix permissions here; run this on Linux or macOS.");
        var program = new PublishedProgram();
        var configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name; // .../bin/Debug/net10.0/
        await using var publish = AppProcess.Launch(new ProcessStartInfo(AppProcess.DotNet)
        {
            ArgumentList =

                {
                    "publish",
                    "ImageQueue.Web",
                    "--no-build",
                    "--configuration",
                    configuration,
                    "--output",
                    program.Folder,
                    "-nodeReuse:false",
                },
            WorkingDirectory = Repository.Root,
        });
        Assert.That(await publish.ExitAsync(), Is.Zero, publish.Output);
        foreach (var path in Directory.EnumerateFileSystemEntries(program.Folder, "*", SearchOption.AllDirectories).Append(program.Folder))
            Change(path, mode => mode & ~Write);
        Change(program._folder.Path, _ => ReadAndEnter | UnixFileMode.UserWrite);
        return program;
    }

    /// <summary>A folder beside the program that its user may write.</summary>
    public string CreateWritable(string name)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder.Path, name)).FullName;
        Change(folder, _ => ReadAndEnter | Write);
        return folder;
    }

    /// <summary>How to run it: in Production, from a folder of the caller's, with no right to write its own.</summary>
    public ProcessStartInfo StartFrom(string workingDirectory, Dictionary<string, string> settings, params string[] arguments)
    {
        var start = StartUnprivileged(AppProcess.DotNet);
        start.ArgumentList.Add(Path.Combine(Folder, "ImageQueue.Web.dll"));
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.WorkingDirectory = workingDirectory;
        start.Environment["ASPNETCORE_ENVIRONMENT"] = "Production";
        start.Environment["HOME"] = "/nonexistent";
        foreach (var (key, value) in settings)
            start.Environment[key] = value;
        return start;
    }

    /// <summary>A command as the user of the program.</summary>
    public static ProcessStartInfo StartUnprivileged(string command, params string[] arguments)
    {
        string[] all = Environment.IsPrivilegedProcess ? [.. AsNobody, command, .. arguments] : [command, .. arguments];
        var start = new ProcessStartInfo(all[0]);
        foreach (var argument in all[1..])
            start.ArgumentList.Add(argument);
        return start;
    }

    /// <summary>Removes it.</summary>
    public void Dispose()
    {
        foreach (var path in Directory.EnumerateDirectories(Folder, "*", SearchOption.AllDirectories).Append(Folder))
            Change(path, mode => mode | UnixFileMode.UserWrite);
        _folder.Dispose();
    }

    private static void Change(string path, Func<UnixFileMode, UnixFileMode> change)
    {
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, change(File.GetUnixFileMode(path)));
    }
}
