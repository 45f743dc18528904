using ImageQueue.Core.Forge;
using Microsoft.AspNetCore.Http.Headers;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Chat;

/// <summary>Serves the demo chat page. Everything on it happens in the browser, through the same API that chat apps use.</summary>
[ApiExplorerSettings(IgnoreApi = true)]
public sealed class ChatController(ForgeModels models) : Controller
{
    /// <summary>
    /// Only files of our own, nothing inline: a prompt that found its way into the markup could still run nothing.
    /// </summary>
    private const string ContentSecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

    [HttpGet("/")]
    public ViewResult Index()
    {
        RequestHeaders request = Request.GetTypedHeaders();

        Response.Headers.ContentSecurityPolicy = ContentSecurityPolicy;
        Response.Headers.XContentTypeOptions = "nosniff";
        Response.Headers["Referrer-Policy"] = "same-origin";
        Response.Headers.CacheControl = "no-cache";
        Response.Headers.Vary = "Accept-Language";

        return View(new ChatPage(ChatPage.LanguageFor(request.AcceptLanguage), models.All));
    }
}
