using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>What the APIs of others register and serve.</summary>
internal static class CompatibilityServices
{
    public static void AddCompatibility(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddOptions<CompatibilityOptions>()
            .Bind(configuration.GetSection(CompatibilityOptions.Section), binder => binder.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations().ValidateOnStart();
        services.AddSingleton<Callers>();
        services.AddSingleton<ModelChoices>();
        services.AddSingleton<ImageCalls>();
        services.AddSingleton<SharedCalls>();
        services.AddSingleton<SourceCalls>();
        services.AddSingleton<CallWaits>();
        services.AddSingleton<CallAnswer>();
        services.AddSingleton<OpenAiResults>();
        services.AddSingleton<OpenAiCalls>();
        services.AddSingleton<A1111Calls>();
        services.AddSingleton<A1111Task>();
        services.AddSingleton<A1111Lists>();
        services.AddSingleton<IProblemShape, OpenAiErrors>();
        services.AddSingleton<IProblemShape, A1111Errors>();
        foreach (var name in (string[])[OpenAiEndpoints.Name, A1111Endpoints.Name])
            services.AddOpenApi(name, options => options.ShouldInclude = description => description.GroupName == name);
    }

    public static void MapCompatibility(this WebApplication app)
    {
        var options = app.Services.GetRequiredService<IOptions<CompatibilityOptions>>().Value;
        if (options.OpenAi.Enabled || options.A1111.Enabled)
            app.MapOpenApi("/openapi/{documentName:regex(^(openai|a1111)$)}.json").RequireAuthorization(Access.Overview);
        if (options.OpenAi.Enabled)
            app.MapOpenAi();
        if (options.A1111.Enabled)
            app.MapA1111();
    }
}
