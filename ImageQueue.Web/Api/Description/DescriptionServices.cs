using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Options;
using Scalar.AspNetCore;

namespace ImageQueue.Web.Api.Description;

/// <summary>What the API's description registers and serves.</summary>
internal static class DescriptionServices
{
    private static readonly string[] GetAndHead = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Adds the document.</summary>
    public static void AddApiDescription(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddOptions<ApiOptions>().Bind(configuration.GetSection(ApiOptions.Section)).ValidateOnStart();
        services.AddOpenApi(ApiDocument.Name, ApiDocument.Configure);
        services.AddSingleton<ApiDocument>();
    }

    /// <summary>Serves the document, and the page where it may be.</summary>
    public static void MapApiDescription(this WebApplication app)
    {
        app.MapMethods(ApiDocument.Path, GetAndHead, async (ApiDocument document) => Results.Bytes(await document.GetAsync(), "application/json; charset=utf-8"))
            .ExcludeFromDescription();
        if (app.Services.GetRequiredService<IOptions<ApiOptions>>().Value.Docs ?? app.Environment.IsDevelopment())
            app.MapScalarApiReference("/docs", options => options.WithTitle("ImageQueue").DisableDefaultFonts().DisableTelemetry().WithOpenApiRoutePattern(ApiDocument.Path.TrimStart('/'))).ExcludeFromDescription();
    }
}
