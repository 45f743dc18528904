using System.IO.Compression;
using Microsoft.AspNetCore.ResponseCompression;

namespace ImageQueue.Web.Chat;

/// <summary>Serves the page's files compressed and cacheable.</summary>
internal static class ChatServices
{
    /// <summary>A worker has the policy of its own file: connections to this server only.</summary>
    private const string Policy = "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    public static void AddChatAssets(this IServiceCollection services)
    {
        services.AddSingleton<ChatAssets>();
        // The files hold no secrets, so compression over HTTPS (BREACH) is safe.
        services.AddResponseCompression(options =>
        {
            options.EnableForHttps = true;
            options.MimeTypes = ["text/css", "text/javascript", "image/svg+xml"];
        });
        services.Configure<BrotliCompressionProviderOptions>(options => options.Level = CompressionLevel.Optimal);
    }

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
        // Under their plain names they are revalidated each time (a 304 is cheap).
        app.UseStaticFiles(
            new StaticFileOptions { OnPrepareResponse = context => context.Context.Response.Headers.CacheControl = "no-cache" });
    }
}
