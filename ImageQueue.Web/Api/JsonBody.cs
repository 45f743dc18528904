using System.Numerics;
using System.Text.Json.Serialization;
using System.Text.Unicode;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.AspNetCore.Mvc.Formatters;
using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Api;

/// <summary>Reads JSON bodies as MVC's own formatter does, and says what is wrong with text that is not UTF-8 or not whole.</summary>
internal sealed class JsonBody(SystemTextJsonInputFormatter inner) : IInputFormatter, IApiRequestFormatMetadataProvider
{
    public bool CanRead(InputFormatterContext context) => inner.CanRead(context);

    public IReadOnlyList<string>? GetSupportedContentTypes(string? contentType, Type objectType) =>
        inner.GetSupportedContentTypes(contentType!, objectType); // It takes null, for all of them.

    public async Task<InputFormatterResult> ReadAsync(InputFormatterContext context)
    {
        var request = context.HttpContext.Request;
        if (!IsUtf8(request))
            return await inner.ReadAsync(context);
        var body = new MemoryStream();
        await request.Body.CopyToAsync(body, context.HttpContext.RequestAborted); // At most the endpoint's RequestSizeLimit.
        if (Problem(body.GetBuffer().AsSpan(0, (int)body.Length)) is var (field, sentence))
        {
            context.ModelState.TryAddModelException(field, new UnreadableException(sentence));
            return InputFormatterResult.Failure();
        }

        body.Position = 0;
        request.Body = body;
        return await inner.ReadAsync(context);
    }

    /// <summary>
    /// Many clients write the charset as <c>utf8</c>, which is no registered name (RFC 8259, section 11: it has no meaning anyway).
    /// </summary>
    private static bool IsUtf8(HttpRequest request)
    {
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out var type) || type.Charset.Length == 0)
            return true;
        var charset = HeaderUtilities.RemoveQuotes(type.Charset);
        if (!charset.Equals("utf8", StringComparison.OrdinalIgnoreCase))
            return charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase);
        type.Charset = "utf-8";
        request.ContentType = type.ToString();
        return true;
    }

    private static (string Field, string Sentence)? Problem(ReadOnlySpan<byte> body)
    {
        if (!Utf8.IsValid(body))
            return ("", "The body is not UTF-8. Send JSON in UTF-8, whatever the text was written in.");
        var field = "";
        var reader = new Utf8JsonReader(body, new JsonReaderOptions { MaxDepth = 64 });
        try
        {
            while (reader.Read())
            {
                var isName = reader.TokenType == JsonTokenType.PropertyName;
                if ((!isName && reader.TokenType != JsonTokenType.String)
                    || (!reader.ValueIsEscaped && !(isName && reader.CurrentDepth == 1)))
                {
                    continue;
                }

                var text = reader.GetString(); // Throws at half a surrogate pair.
                if (isName && reader.CurrentDepth == 1)
                    field = text;
            }
        }
        catch (InvalidOperationException)
        {
            var name = string.IsNullOrEmpty(field) ? "The body" : field;
            return (
                field ?? "",
                $"{name} holds half a character (a surrogate without its other half). Cut text between characters, not inside them.");
        }
        catch (JsonException)
        {
            return null; // The formatter says what is wrong.
        }

        return null;
    }
}

/// <summary>Takes 512.0 and 5.12e2 as integers, as JSON Schema does; and integers in text, where the options allow them.</summary>
internal sealed class WholeNumber<T> : JsonConverter<T>
    where T : struct, IBinaryInteger<T>, IMinMaxValue<T>
{
    /// <exception cref="JsonException">It is no whole number of this size. Without a message, so that the serializer names the
    /// type.</exception>
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String && options.NumberHandling.HasFlag(JsonNumberHandling.AllowReadingFromString))
        {
            return T.TryParse(reader.GetString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var parsed)
                ? parsed
                : throw new JsonException();
        }

        return reader.TokenType == JsonTokenType.Number && reader.TryGetDecimal(out var number) && number == decimal.Truncate(number)
            && number >= decimal.CreateChecked(T.MinValue) && number <= decimal.CreateChecked(T.MaxValue)
            ? T.CreateChecked(number)
            : throw new JsonException();
    }

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(long.CreateChecked(value));
}
