using System.Collections.Concurrent;
using System.Security.Cryptography;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Compatibility;

/// <summary>Whose requests a call makes, and in which conversation they are kept.</summary>
/// <param name="Api">The API's name, the first part of the conversation id.</param>
/// <param name="Username">The <c>user</c> field, else the Basic user, else the name of the key.</param>
/// <param name="ConversationId">A conversation of that user's for one API.</param>
internal sealed record Caller(string Api, string Username, string ConversationId);

/// <summary>Finds the caller of a request.</summary>
internal sealed class Callers
{
    private const int MaxTries = 100;

    /// <summary>How many of a caller's ids take no more messages; the next one has a number.</summary>
    private readonly ConcurrentDictionary<string, int> _taken = new(StringComparer.Ordinal);

    /// <param name="user">The <c>user</c> field of the body, or null.</param>
    public Caller Of(HttpContext context, string api, string? user)
    {
        string?[] names = [user, Credentials.BasicUser(context.Request), context.User.Identity?.Name];
        var username = names.FirstOrDefault(name => !string.IsNullOrWhiteSpace(name))?.Trim() ?? api;
        return new(api, username, ConversationOf(api, username));
    }

    /// <summary>
    /// Writes into the caller's conversation. An erased one takes no more, and another user's has the same id where one is called
    /// <c>x</c> and the other <c>x~2</c>; a few may follow one another.
    /// </summary>
    public async Task<T> WriteAsync<T>(Caller caller, Func<Caller, Task<T>> writeAsync)
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                return await writeAsync(caller);
            }
            catch (Exception e) when (e is ConversationDeletedException or ConversationForbiddenException && tries < MaxTries)
            {
                caller = Next(caller);
            }
        }
    }

    /// <summary>Later requests of this user go into a new conversation.</summary>
    private Caller Next(Caller caller)
    {
        if (ConversationOf(caller.Api, caller.Username) == caller.ConversationId)
            _taken.AddOrUpdate(BaseOf(caller.Api, caller.Username), 1, (_, count) => count + 1);
        return caller with { ConversationId = ConversationOf(caller.Api, caller.Username) };
    }

    private string ConversationOf(string api, string username)
    {
        var id = BaseOf(api, username);
        return _taken.TryGetValue(id, out var count) ? string.Create(null, $"{id}~{count + 1}") : id;
    }

    /// <summary>Short enough to leave room for the number.</summary>
    private static string BaseOf(string api, string username)
    {
        var id = $"{api}-{username}";
        return id.Length <= RequestRules.MaxNameLength - 8
            ? id
            : $"{api}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(username)))}";
    }
}
