using ImageQueue.Web.Auth;
using Scalar.AspNetCore;

namespace ImageQueue.Web.Api.Description;

internal static class DescriptionServices
{
    private const string DocsPath = "/docs";

    /// <summary>Scalar writes a script and styles into its page, which shows nothing that any user has written.</summary>
    private const string DocsPolicy =
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly string[] GetAndHead = [HttpMethods.Get, HttpMethods.Head];

    public static void AddApiDescription(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddOptions<ApiOptions>().Bind(configuration.GetSection(ApiOptions.Section)).ValidateOnStart();
        services.AddOpenApi(ApiDocument.Name, ApiDocument.Configure);
        services.AddSingleton<ApiDocument>();
    }

    /// <summary>Serves the document, and the page where it may be.</summary>
    public static void MapApiDescription(this WebApplication app)
    {
        app.MapMethods(
            ApiDocument.Path,
            GetAndHead,
            async (ApiDocument document, HttpRequest request) =>
                Results.Text(await document.GetAsync(request.PathBase), "application/json", Encoding.UTF8))
            .ExcludeFromDescription().RequireAuthorization(Access.Overview);
        if (app.Services.GetRequiredService<IOptions<ApiOptions>>().Value.Docs ?? app.Environment.IsDevelopment())
        {
            app.UseWhen(
                context => context.Request.Path.StartsWithSegments(DocsPath),
                docs => docs.Use((context, next) =>
                {
                    context.Response.Headers.ContentSecurityPolicy = DocsPolicy;
                    return next(context);
                }));
            app.MapScalarApiReference(
                DocsPath,
                options =>
                {
                    // With its list of models, "Models" would be there twice.
                    options.WithTitle("ImageQueue").DisableDefaultFonts().DisableTelemetry().DisableAgent().HideModels()
                        .WithOpenApiRoutePattern(ApiDocument.Path.TrimStart('/'));
                    options.ShowDeveloperTools = DeveloperToolsVisibility.Never;
                })
                .ExcludeFromDescription().RequireAuthorization(Access.Overview);
        }
    }
}
