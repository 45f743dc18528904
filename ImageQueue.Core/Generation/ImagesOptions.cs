using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Generation;

/// <summary>Settings under <c>Images</c>: where the images are kept.</summary>
public sealed class ImagesOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Images";

    /// <summary>Folder of the images, made when missing; relative to the working directory. Default <c>data/images</c>.</summary>
    [Required]
    public string Directory { get; set; } = "data/images";

    /// <summary>How long a finished image is kept; its message stays, and says so. Default: for ever.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "36500.00:00:00", ErrorMessage = "Images:KeepFor must be 00:01:00 or more.")]
    public TimeSpan? KeepFor { get; set; }

    /// <summary>How long an upload is kept that no request has used. Default 1 day.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "36500.00:00:00", ErrorMessage = "Images:KeepUploadsFor must be 00:01:00 or more.")]
    public TimeSpan KeepUploadsFor { get; set; } = TimeSpan.FromDays(1);

    /// <summary>
    /// Whether images keep the text that Forge writes into them (prompt, seed, model), which everyone with the file can read.
    /// Default Remove.
    /// </summary>
    public ImageMetadata Metadata { get; set; } = ImageMetadata.Remove;
}

/// <summary>What happens to the text in an image.</summary>
public enum ImageMetadata
{
    /// <summary>Removed, with EXIF.</summary>
    Remove,

    /// <summary>Kept; an image that is converted gets it as PNG text.</summary>
    Keep,
}
