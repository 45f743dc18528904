using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Startup;

/// <summary><c>key new</c>: makes a key. It is printed once and stored nowhere; the settings get its hash.</summary>
internal static class KeyCommand
{
    private const string Usage =
        """
        Usage: dotnet run --project ImageQueue.Web -- key new --role client|operator|operator-read [--name <holder>]
        """;

    /// <returns>The exit code: 0 done, 2 not understood.</returns>
    public static int Run(string[] words, TextWriter output, TextWriter errors)
    {
        if (Read(words) is not var (role, name))
        {
            errors.WriteLine(Usage);
            return 2;
        }

        var key = ApiKeys.Create(role);
        output.WriteLine(
            $"""
            The key, shown this once. Give it to its holder:

              {key}

            The settings that let it in (n is 0 for the first key, 1 for the next):

              Auth__ApiKeys__n__Name={name}
              Auth__ApiKeys__n__Role={role}
              Auth__ApiKeys__n__KeyHash={Convert.ToHexStringLower(ApiKeys.Hash(key))}
            """);
        return 0;
    }

    private static (string Role, string Name)? Read(string[] words) => words switch
    {
        ["new", "--role", var role] when Roles.OfKeys.Contains(role) => (role, role),
        ["new", "--role", var role, "--name", { Length: > 0 } name] when Roles.OfKeys.Contains(role) => (role, name),
        ["new", "--name", { Length: > 0 } name, "--role", var role] when Roles.OfKeys.Contains(role) => (role, name),
        _ => null,
    };
}
