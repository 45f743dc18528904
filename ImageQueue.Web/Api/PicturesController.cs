using ImageQueue.Core.Generation;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>Serves finished pictures. Their names are unguessable and their bytes never change.</summary>
[ApiController]
[Tags("Images")]
public sealed class PicturesController(ImageFiles images) : ControllerBase
{
    /// <summary>A finished picture.</summary>
    [HttpGet("/images/flux_{job_id:regex(^[[0-9a-f]]{{32}}$)}.png")]
    [HttpHead("/images/flux_{job_id:regex(^[[0-9a-f]]{{32}}$)}.png")]
    [Produces("image/png", "application/problem+json")]
    [ProducesResponseType(StatusCodes.Status200OK)]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    public IActionResult Get([FromRoute(Name = "job_id")] string jobId)
    {
        if (images.FindPath(jobId) is not { } path)
            return ApiProblem.Result(StatusCodes.Status404NotFound, "There is no such picture. It comes to exist when its message is complete.");
        Response.Headers.CacheControl = "public, max-age=31536000, immutable";
        return PhysicalFile(path, "image/png", enableRangeProcessing: true);
    }
}
