using System.Text.Json.Serialization;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>
/// The body of <c>POST /sdapi/v1/extra-single-image</c>. Fields that are not here, <c>upscaler_1</c> among them, are ignored.
/// </summary>
/// <remarks>A1111 and Forge <c>modules/api/models.py</c>, <c>ExtrasSingleImageRequest</c>.</remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
internal sealed record A1111UpscaleBody
{
    /// <summary>Base64. Required.</summary>
    public byte[]? Image { get; init; }

    /// <summary>2 or 4; 2 as at A1111.</summary>
    public decimal? UpscalingResize { get; init; }

    /// <summary>0: by <see cref="UpscalingResize"/>, which is all that can be done here.</summary>
    public int? ResizeMode { get; init; }

    /// <summary>The image, and how large it is to become.</summary>
    /// <exception cref="ProblemException">A field is not valid.</exception>
    public CallSource ToSource()
    {
        if (Image is not { Length: > 0 })
            throw CallSource.InvalidField("image", "image is missing. Send it as base64.");
        if (ResizeMode is not (null or 0))
            throw CallSource.InvalidField("resize_mode", "resize_mode must be 0: the size follows from upscaling_resize.");
        return (UpscalingResize ?? 2) is 2 or 4
            ? new(Image, Upscale: (int)(UpscalingResize ?? 2))
            : throw CallSource.InvalidField("upscaling_resize", "upscaling_resize must be 2 or 4.");
    }

    /// <summary>Its source says all.</summary>
    public static ImageRequest Request { get; } = new() { ConversationId = "", Username = "", Prompt = "" };
}

/// <summary>The answer to <c>extra-single-image</c>.</summary>
internal sealed record A1111Upscaled(string? Image, string HtmlInfo);
