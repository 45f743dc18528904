using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Generation;

/// <summary>Settings under <c>Images</c>: where the pictures are kept.</summary>
public sealed class ImagesOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Images";

    /// <summary>Folder of the pictures, made when missing; relative to the working directory. Default <c>data/images</c>.</summary>
    [Required]
    public string Directory { get; set; } = "data/images";
}
