using ImageQueue.Core.Forge;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Chat;

/// <summary>Serves the chat page, which uses the public API.</summary>
[ApiExplorerSettings(IgnoreApi = true)]
public sealed class ChatController(ForgeModels models, ChatAssets assets) : Controller
{
    private const string LanguageCookie = "imagequeue.language";

    /// <summary>The page; <paramref name="lang"/> stores the language in a cookie.</summary>
    [HttpGet("/")]
    [Authorize(Access.Dashboard)]
    public IActionResult Index(string? lang)
    {
        if (lang is PageLanguage.Turkish or PageLanguage.English)
        {
            Response.Cookies.Append(
                LanguageCookie, lang,
                new CookieOptions { HttpOnly = true, IsEssential = true, MaxAge = TimeSpan.FromDays(365), SameSite = SameSiteMode.Lax });
            return LocalRedirect(Url.Content("~/") + QueryString.Create(
                Request.Query.Where(parameter => !parameter.Key.Equals(nameof(lang), StringComparison.OrdinalIgnoreCase))));
        }

        Response.Headers.ContentSecurityPolicy = SecurityHeaders.Page;
        Response.Headers.CacheControl = "no-cache";
        Response.Headers.Vary = "Accept-Language, Cookie";
        var language = Request.Cookies[LanguageCookie] is (PageLanguage.Turkish or PageLanguage.English) and var chosen
            ? chosen
            : PageLanguage.For(Request.GetTypedHeaders().AcceptLanguage);
        return View(new ChatPage(language, models.All, Url.Content($"~{assets.Path}/")));
    }
}
