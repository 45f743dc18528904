namespace ImageQueue.Core.Forge;

/// <summary>What a request wants of a backend.</summary>
public enum ForgeTask
{
    TextToImage,

    ImageToImage,

    /// <summary>Image to image under a mask.</summary>
    Inpaint,

    Upscale,
}

internal static class ForgeTasks
{
    public static ForgeTask Of(ImageSource? source) => source switch
    {
        null => ForgeTask.TextToImage,
        { Upscale: not null } => ForgeTask.Upscale,
        { MaskUploadId: not null } => ForgeTask.Inpaint,
        _ => ForgeTask.ImageToImage,
    };
}
