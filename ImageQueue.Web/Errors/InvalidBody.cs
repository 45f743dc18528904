using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Controllers;
using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace ImageQueue.Web.Errors;

/// <summary>Turns a body or parameter that cannot be bound into one sentence.</summary>
internal static partial class InvalidBody
{
    public static IActionResult ToProblem(ActionContext context)
    {
        var (key, error) = context.ModelState
            .SelectMany(entry => entry.Value?.Errors.Select(error => (entry.Key, error)) ?? [])
            .OrderByDescending(entry => entry.error.Exception is UnprocessableException or UnreadableException)
            .ThenByDescending(entry => entry.Key.StartsWith('$')) // The JSON reader's errors come before "is required".
            .First();
        if (error.Exception is UnprocessableException unprocessable)
            return ApiProblem.Result(ProblemCodes.InvalidRequest, unprocessable.Message, key, StatusCodes.Status422UnprocessableEntity);
        var parameter = context.ActionDescriptor.Parameters.OfType<ControllerParameterDescriptor>()
            .FirstOrDefault(parameter => parameter.BindingInfo?.BindingSource != BindingSource.Body && NameOf(parameter) == key);
        var (field, sentence) = error.Exception is UnreadableException unreadable ? (key, unreadable.Message)
            : parameter is null ? OfBody(key, error)
            : (key, OfParameter(key, parameter));
        return ApiProblem.Result(ProblemCodes.InvalidRequest, sentence, field);
    }

    private static string NameOf(ControllerParameterDescriptor parameter) => parameter.BindingInfo?.BinderModelName ?? parameter.Name;

    private static string OfParameter(string name, ControllerParameterDescriptor parameter)
    {
        var kind = Kind(parameter.ParameterType.ToString());
        return parameter.ParameterInfo.GetCustomAttribute<RangeAttribute>(inherit: false) is not { } range
            ? $"{name} must be {kind}."
            : Convert.ToDouble(range.Maximum, CultureInfo.InvariantCulture) >= long.MaxValue
                ? string.Create(CultureInfo.InvariantCulture, $"{name} must be {kind}, at least {range.Minimum}.")
                : string.Create(CultureInfo.InvariantCulture, $"{name} must be {kind} from {range.Minimum} to {range.Maximum}.");
    }

    private static (string Field, string Sentence) OfBody(string key, ModelError error)
    {
        var text = error.Exception?.Message ?? error.ErrorMessage;
        var field = key.StartsWith("$.", StringComparison.Ordinal) ? key[2..] : key is "$" ? "" : key;
        if (UnknownField().Match(text) is { Success: true } unknown)
            return (unknown.Groups[1].Value, $"The field {unknown.Groups[1].Value} is not known here; remove it, or check its spelling.");
        if (DuplicateField().IsMatch(text))
            return (field, $"The field {field} appears twice; send it once.");
        if (WrongType().Match(text) is { Success: true } wrong && field.Length > 0)
            return (field, $"{field} must be {Kind(wrong.Groups[1].Value)}.");
        return key.Length == 0
            ? ("", "The body is empty; send a JSON object.")
            : ("", "The body is not the JSON object that is expected here. Send one, such as {\"username\": \"...\"}, in UTF-8.");
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

/// <summary>A binder read a value that is not allowed: 422. The message is a sentence for the caller.</summary>
internal sealed class UnprocessableException(string sentence) : Exception(sentence);

/// <summary>A binder could not read the value: 400. The message is a sentence for the caller.</summary>
internal sealed class UnreadableException(string sentence) : Exception(sentence);
