using ImageQueue.Core.Forge;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Headers;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Chat;

/// <summary>Serves the demo chat page. Everything on it happens in the browser, through the same API that chat apps use.</summary>
[ApiExplorerSettings(IgnoreApi = true)]
public sealed class ChatController(ForgeModels models) : Controller
{
    /// <summary>The page.</summary>
    [HttpGet("/")]
    [Authorize(Access.Dashboard)]
    public ViewResult Index()
    {
        RequestHeaders request = Request.GetTypedHeaders();

        Response.Headers.ContentSecurityPolicy = SecurityHeaders.Page;
        Response.Headers.CacheControl = "no-cache";
        Response.Headers.Vary = "Accept-Language";

        return View(new ChatPage(ChatPage.LanguageFor(request.AcceptLanguage), models.All));
    }
}
