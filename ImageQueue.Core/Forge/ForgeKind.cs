namespace ImageQueue.Core.Forge;

/// <summary>The programs that serve Forge's API, as far as their differences matter here.</summary>
/// <remarks>
/// What a backend can do is learned from itself; this is what to expect.
/// <list type="table">
/// <listheader><term>server</term><description>how it is recognised, and what it can do</description></listheader>
/// <item><term>Forge, Neo</term><description>
/// The option <c>forge_additional_modules</c>. Task ids, previews, global progress, interrupt, schedulers. An unknown scheduler or
/// checkpoint is replaced silently: <c>info</c> says by which.
/// </description></item>
/// <item><term>Forge with <c>--nowebui</c></term><description>
/// As Forge, but without <c>/internal</c>: no task ids and no previews; global progress and interrupt.
/// </description></item>
/// <item><term>forge-classic</term><description>
/// No schedulers; task ids; an unknown sampler is a 404 that names it.
/// </description></item>
/// <item><term>A1111 from 1.8, reForge</term><description>
/// <c>force_task_id</c> in the schema of txt2img. Task ids, previews, global progress, interrupt. The text of a 500 is in <c>errors</c>.
/// </description></item>
/// <item><term>A1111 before that</term><description>
/// <c>/internal/progress</c> is there, but no request can be given an id: global progress and interrupt. Schedulers are part of
/// the sampler's name (<c>DPM++ 2M Karras</c>).
/// </description></item>
/// <item><term>SD.Next</term><description>
/// <c>/sdapi/v1/motd</c> in the OpenAPI document. As the older A1111: global progress and interrupt (204).
/// </description></item>
/// <item><term>stable-diffusion.cpp's <c>sd-server</c></term><description>
/// Every model's hash is 8888888888. No progress, no interrupt, no OpenAPI document; requests wait for a lock. It has the one
/// model that it was started with, and takes arguments out of <c>&lt;sd_cpp_extra_args&gt;</c> in the prompt.
/// </description></item>
/// <item><term>KoboldCpp</term><description>
/// The same hash, and a name under <c>/api/extra/version</c>. 503 while it is busy, seeds of 31 bits, a failed image is a 200 with
/// an empty image. Newer versions have global progress and interrupt. A POST to a path that it does not know waits behind its lock.
/// </description></item>
/// </list>
/// </remarks>
public enum ForgeKind
{
    /// <summary>It does not say.</summary>
    Unknown,

    /// <summary>Stable Diffusion WebUI Forge, Neo.</summary>
    Forge,

    /// <summary>Stable Diffusion WebUI of A1111, and what was made of it: reForge, forge-classic.</summary>
    A1111,

    /// <summary>SD.Next.</summary>
    SdNext,

    /// <summary>stable-diffusion.cpp's <c>sd-server</c>.</summary>
    SdCpp,

    /// <summary>KoboldCpp.</summary>
    KoboldCpp,
}
