using ImageQueue.Core.Generation;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>
/// Serves images: finished ones, whose bytes never change, and previews of those being generated. Their names are unguessable.
/// </summary>
[ApiController]
[Tags("Images")]
[Authorize(Access.Read)]
[TokenInAddress]
public sealed class ImageFilesController(ImageFiles files, ImageLocator images) : ControllerBase
{
    /// <summary>A finished image.</summary>
    [HttpGet("/images/flux_{job_id:regex(^[[0-9a-f]]{{32}}$)}.png", Name = "getImage")]
    [ProducesResponseType(StatusCodes.Status200OK)]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> GetAsync([FromRoute(Name = "job_id")] string jobId, CancellationToken cancellationToken) =>
        this.ImmutableFile(
            await images.FindAsync(jobId, cancellationToken), "image/png",
            "There is no such image. It comes to exist when its message is complete.");

    /// <summary>A finished image's thumbnail: WebP, at most 512 pixels on the long side.</summary>
    [HttpGet("/images/flux_{job_id:regex(^[[0-9a-f]]{{32}}$)}.thumb.webp", Name = "getThumbnail")]
    [ProducesResponseType(StatusCodes.Status200OK)]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> GetThumbnailAsync([FromRoute(Name = "job_id")] string jobId, CancellationToken cancellationToken) =>
        this.ImmutableFile(
            await images.FindThumbnailAsync(jobId, cancellationToken), "image/webp",
            "There is no such thumbnail. It comes to exist when its message is complete.");

    /// <summary>
    /// The preview of an image being generated: a small JPEG, renewed about every second; 204 before the first and after the end.
    /// </summary>
    [HttpGet("/images/flux_{job_id:regex(^[[0-9a-f]]{{32}}$)}.preview.jpg", Name = "getPreview")]
    [ProducesResponseType(StatusCodes.Status200OK)]
    [ProducesResponseType(StatusCodes.Status204NoContent)]
    [Problem(404, ProblemCodes.NotFound)]
    public IActionResult GetPreview([FromRoute(Name = "job_id")] string jobId)
    {
        Response.Headers.CacheControl = "no-store";
        // A client may ask for a preview that has just been removed: 204, which browsers do not show as an error.
        return files.ReadPreview(jobId) is { } jpeg ? File(jpeg, "image/jpeg") : NoContent();
    }
}
