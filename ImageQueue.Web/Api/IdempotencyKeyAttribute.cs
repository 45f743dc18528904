using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace ImageQueue.Web.Api;

/// <summary>
/// The header <c>Idempotency-Key</c>, as the IETF's draft has it, a text in quotation marks (RFC 8941, section 3.3.3), or bare, as
/// most send it: both are the same key.
/// </summary>
[AttributeUsage(AttributeTargets.Parameter)]
internal sealed class IdempotencyKeyAttribute : ModelBinderAttribute
{
    public const string HeaderName = "Idempotency-Key";

    /// <summary>The response header that marks a replay.</summary>
    public const string ReplayedHeaderName = "Idempotency-Replayed";

    public IdempotencyKeyAttribute()
        : base(typeof(Binder))
    {
        Name = HeaderName;
        BindingSource = BindingSource.Header;
    }

    /// <exception cref="UnreadableException">There are two keys, or the quotation marks do not fit.</exception>
    /// <exception cref="UnprocessableException">The key is empty, too long or holds a control character.</exception>
    internal static string? Read(IReadOnlyList<string?> lines)
    {
        if (lines.Count == 0)
            return null;
        if (lines.Count > 1)
            throw new UnreadableException($"{HeaderName} is there {lines.Count} times; send one key.");
        var line = (lines[0] ?? "").Trim();
        var key = line.StartsWith('"') ? Unquoted(line) : Bare(line);
        var rules = new RequestRules();
        rules.OptionalName(HeaderName, key, ImageRequest.MaxIdempotencyKeyLength);
        return rules.Errors.Values.FirstOrDefault() is { } broken ? throw new UnprocessableException(broken[0]) : key;
    }

    /// <summary>Proxies and clients join two lines by a comma (RFC 9110, section 5.3), so that a bare key cannot hold one.</summary>
    private static string Bare(string line) => line.Contains(',')
        ? throw new UnreadableException($"{HeaderName} holds two keys; send one. A key with a comma goes into quotation marks.")
        : line;

    private static string Unquoted(string line)
    {
        var key = new StringBuilder();
        for (var i = 1; i < line.Length; i++)
        {
            if (line[i] == '\\' && i + 1 < line.Length && line[i + 1] is ('"' or '\\'))
                key.Append(line[++i]);
            else if (line[i] != '"')
                key.Append(line[i]);
            else if (i == line.Length - 1)
                return key.ToString();
            else if (line[(i + 1)..].TrimStart() is [',', ..])
                throw new UnreadableException($"{HeaderName} holds two keys; send one.");
            else
                break;
        }

        throw new UnreadableException(
            $"{HeaderName} begins with a quotation mark and does not end with one; close it, or send the key without.");
    }

    private sealed class Binder : IModelBinder
    {
        public Task BindModelAsync(ModelBindingContext bindingContext)
        {
            try
            {
                bindingContext.Result = ModelBindingResult.Success(Read(bindingContext.HttpContext.Request.Headers[HeaderName].ToArray()));
            }
            catch (Exception e) when (e is UnreadableException or UnprocessableException)
            {
                bindingContext.ModelState.TryAddModelException(HeaderName, e);
            }

            return Task.CompletedTask;
        }
    }
}
