using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Auth;

/// <summary>Signs operators in with a key, and out again.</summary>
[AllowAnonymous]
[NotAudited]
[AutoValidateAntiforgeryToken]
[FormSizeLimit]
[ApiExplorerSettings(IgnoreApi = true)]
public sealed class LoginController(ApiKeys keys, SignInLockout lockout, AuditLog audit) : Controller
{
    /// <summary>The form to sign in, or to sign out.</summary>
    [HttpGet("/login")]
    public IActionResult Index([FromQuery(Name = "return")] string? page) => Show(problem: null, page);

    [HttpPost("/login")]
    [Consumes("application/x-www-form-urlencoded", "multipart/form-data")]
    public async Task<IActionResult> SignInAsync()
    {
        // Not bound to a parameter: MVC logs parameters at Trace.
        var form = await Request.ReadFormAsync(HttpContext.RequestAborted);
        var address = RateLimits.AddressOf(HttpContext);
        var page = form["return"].ToString();
        var sent = form["key"].ToString().Trim();
        if (keys.Find(sent) is not { } key)
        {
            if (lockout.WaitOf(address, sent) is { } wait)
                return LockedOut(wait, page);
            var isLockedOut = lockout.Fail(address, sent);
            audit.SignInFailed(address, isLockedOut);
            return isLockedOut && lockout.WaitOf(address, sent) is { } first ? LockedOut(first, page) : Refused("WrongKey", page);
        }

        if (key.Role == Roles.Client)
            return Refused("ClientKey", page); // A valid key: not counted as a failure.

        lockout.Succeed(address);
        await HttpContext.SignInAsync(Credentials.Cookie, key.ToPrincipal(Credentials.Cookie));
        audit.SignedIn(key, address);
        return LocalRedirect(Url.IsLocalUrl(page) ? page : "~/hangfire");
    }

    [HttpPost("/logout")]
    public async Task<IActionResult> SignOutAsync()
    {
        if (User.Identity?.AuthenticationType == Credentials.Cookie)
            audit.SignedOut(User, RateLimits.AddressOf(HttpContext));
        await HttpContext.SignOutAsync(Credentials.Cookie);
        return LocalRedirect("~/login");
    }

    private ViewResult LockedOut(TimeSpan wait, string page)
    {
        Response.StatusCode = StatusCodes.Status429TooManyRequests;
        Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        return Show("LockedOut", page, (int)Math.Ceiling(wait.TotalMinutes));
    }

    private ViewResult Refused(string problem, string page)
    {
        Response.StatusCode = StatusCodes.Status401Unauthorized;
        return Show(problem, page);
    }

    private ViewResult Show(string? problem, string? page, int minutes = 0)
    {
        Response.Headers.ContentSecurityPolicy = SecurityHeaders.Page;
        Response.Headers.Vary = "Accept-Language";
        var language = PageLanguage.For(Request.GetTypedHeaders().AcceptLanguage);
        var signedIn = User.Identity is { IsAuthenticated: true, AuthenticationType: Credentials.Cookie } identity ? identity.Name : null;
        return View("Index", new LoginPage(language, signedIn, problem, minutes, page));
    }
}

/// <summary>For routing alone: MVC's own attribute is a filter as well, which warns that <see cref="Forms"/> has read the body.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class FormSizeLimitAttribute : Attribute, IRequestSizeLimitMetadata
{
    public long? MaxRequestBodySize => 16 * 1024;
}
