using System.IO.Compression;
using Microsoft.AspNetCore.ResponseCompression;

namespace ImageQueue.Web.Chat;

/// <summary>What the page's files need: compressed, and kept by browsers for ever.</summary>
internal static class ChatServices
{
    /// <summary>A worker is held to what its own file says: it may listen to this server, and nothing else.</summary>
    private const string Policy = "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>Adds them.</summary>
    public static void AddChatAssets(this IServiceCollection services)
    {
        services.AddSingleton<ChatAssets>();
        // They hold no secrets, so that what compression over HTTPS gives away is nothing.
        services.AddResponseCompression(options =>
        {
            options.EnableForHttps = true;
            options.MimeTypes = ["text/css", "text/javascript", "image/svg+xml"];
        });
        services.Configure<BrotliCompressionProviderOptions>(options => options.Level = CompressionLevel.Optimal);
    }

    /// <summary>Serves them.</summary>
    public static void UseChatAssets(this WebApplication app)
    {
        var path = app.Services.GetRequiredService<ChatAssets>().Path;
        app.UseWhen(
            context => context.Request.Path.StartsWithSegments(path, StringComparison.Ordinal),
            assets =>
            {
                assets.UseResponseCompression();
                assets.UseStaticFiles(new StaticFileOptions
                {
                    RequestPath = path,
                    OnPrepareResponse = context =>
                    {
                        context.Context.Response.Headers.CacheControl = "public, max-age=31536000, immutable";
                        context.Context.Response.Headers.ContentSecurityPolicy = Policy;
                    },
                });
            });
        // By their own names they are always asked for anew (a 304 costs little).
        app.UseStaticFiles(new StaticFileOptions { OnPrepareResponse = context => context.Context.Response.Headers.CacheControl = "no-cache" });
    }
}
