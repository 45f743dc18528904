using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace ImageQueue.Web.Errors;

/// <summary>Says in one sentence what is wrong with a body or a parameter that could not be read at all.</summary>
internal static partial class InvalidBody
{
    /// <summary>For <see cref="ApiBehaviorOptions.InvalidModelStateResponseFactory"/>.</summary>
    public static IActionResult ToProblem(ActionContext context)
    {
        var (key, error) = context.ModelState
            .SelectMany(entry => entry.Value?.Errors.Select(error => (entry.Key, error)) ?? [])
            .OrderByDescending(entry => entry.Key.StartsWith('$')) // What the JSON reader says comes before "is required".
            .First();
        return ApiProblem.Result(StatusCodes.Status400BadRequest, Sentence(key, error));
    }

    private static string Sentence(string key, ModelError error)
    {
        var text = error.Exception?.Message ?? error.ErrorMessage;
        var field = key.StartsWith("$.", StringComparison.Ordinal) ? key[2..] : key;
        if (UnknownField().Match(text) is { Success: true } unknown)
            return $"The field {unknown.Groups[1].Value} is not known here; remove it, or check its spelling.";
        if (DuplicateField().IsMatch(text))
            return $"The field {field} appears twice; send it once.";
        if (WrongType().Match(text) is { Success: true } wrong && field is not ("" or "$"))
            return $"{field} must be {Kind(wrong.Groups[1].Value)}.";
        if (key.StartsWith('$') || text.Contains("JSON", StringComparison.Ordinal))
            return "The body is not the JSON object that is expected here. Send one, such as {\"username\": \"...\"}, in UTF-8.";
        return field.Length == 0 ? "The body is empty; send a JSON object." : $"{field}: {text}";
    }

    private static string Kind(string type) => type switch
    {
        _ when type.Contains("Int32", StringComparison.Ordinal) || type.Contains("Int64", StringComparison.Ordinal) => "a whole number",
        _ when type.Contains("Decimal", StringComparison.Ordinal) || type.Contains("Double", StringComparison.Ordinal) => "a number",
        _ when type.Contains("String", StringComparison.Ordinal) => "a text",
        _ => "of another type",
    };

    [GeneratedRegex("property '([^']*)' could not be mapped", RegexOptions.CultureInvariant)]
    private static partial Regex UnknownField();

    [GeneratedRegex("[Dd]uplicate property", RegexOptions.CultureInvariant)]
    private static partial Regex DuplicateField();

    [GeneratedRegex("could not be converted to ([A-Za-z0-9_.`\\[\\]]+)", RegexOptions.CultureInvariant)]
    private static partial Regex WrongType();
}
