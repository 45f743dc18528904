using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Compatibility;

/// <summary>Settings under <c>Compatibility</c>.</summary>
public sealed class CompatibilityOptions : IValidatableObject
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Compatibility";

    /// <summary>
    /// After this long, a call that still waits is answered 200 and gets blanks before its JSON, for proxies whose time-out cannot be
    /// raised; an error is then in the body alone. Default: never.
    /// </summary>
    public TimeSpan? KeepAliveAfter { get; set; }

    /// <summary>Whether a call's requests are cancelled when the client closes the connection. Default: true.</summary>
    public bool CancelOnHangUp { get; set; } = true;

    /// <summary>OpenAI's images API under <c>/v1</c>.</summary>
    public OpenAiOptions OpenAi { get; set; } = new();

    /// <summary>A1111's and Forge's API under <c>/sdapi/v1</c> and <c>/internal</c>.</summary>
    public A1111Options A1111 { get; set; } = new();

    /// <inheritdoc/>
    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (KeepAliveAfter <= TimeSpan.Zero)
            yield return new ValidationResult($"{Section}:{nameof(KeepAliveAfter)} must be longer than 00:00:00, or left out.");
        if (!Enum.IsDefined(OpenAi.UnknownModels))
            yield return new ValidationResult($"{Section}:OpenAi:UnknownModels must be Default or Refuse.");
    }
}

/// <summary>Settings under <c>Compatibility:OpenAi</c>.</summary>
public sealed class OpenAiOptions
{
    /// <summary>Whether <c>/v1</c> is served. Default: true.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>What a call gets that names a model that is not offered. Default: the default model.</summary>
    public UnknownModels UnknownModels { get; set; }
}

/// <summary>Settings under <c>Compatibility:A1111</c>.</summary>
public sealed class A1111Options
{
    /// <summary>Whether <c>/sdapi/v1</c> and <c>/internal</c> are served. Default: true.</summary>
    public bool Enabled { get; set; } = true;
}

/// <summary>What a call gets that names a model that is not offered.</summary>
public enum UnknownModels
{
    /// <summary>The default model: chat apps send names of their own, such as dall-e-3.</summary>
    Default,

    /// <summary>404 <c>model_not_found</c>.</summary>
    Refuse,
}
