using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace ImageQueue.Web.Simulator;

/// <summary>Serves the simulator: Forge's endpoints under <c>/simulator</c>, and a few of its own for faults and statistics.</summary>
public static class SimulatorEndpoints
{
    /// <summary>The path in front of Forge's own paths.</summary>
    public const string Path = "/simulator";

    private const int MostBytes = 1024 * 1024;

    /// <summary>Of a request with an image and a mask of the largest size in it; Kestrel's own limit is lower.</summary>
    private const int MostBytesWithImages = 64 * 1024 * 1024;

    /// <summary>
    /// Registers <see cref="ForgeSimulator"/>: as Forge, unless a <see cref="SimulatorProfile"/> has been registered before.
    /// </summary>
    public static IServiceCollection AddForgeSimulator(this IServiceCollection services)
    {
        services.AddOptions();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton(SimulatorProfile.Forge);
        services.TryAddSingleton<SimulatorFaults>();
        services.TryAddSingleton<SimulatorStats>();
        services.TryAddSingleton<ForgeSimulator>();
        return services;
    }

    /// <summary>Maps the endpoints. Returns the group, for what the application adds to all of them.</summary>
    public static RouteGroupBuilder MapForgeSimulator(this IEndpointRouteBuilder app)
    {
        var simulator = app.ServiceProvider.GetRequiredService<ForgeSimulator>();
        var group = app.MapGroup(Path).ExcludeFromDescription();

        // Applies all faults itself, so that its requests are counted in the statistics in any case.
        var api = group.MapGroup("/sdapi/v1");
        api.MapPost(
            "/txt2img", (ForgeSimulator _, HttpContext http) => GenerateAsync(simulator, http, SimulatorCall.TextToImage, MostBytes));
        foreach (var (name, call) in new[] { ("img2img", SimulatorCall.ImageToImage), ("extra-single-image", SimulatorCall.Upscale) })
        {
            api.MapPost($"/{name}", (ForgeSimulator _, HttpContext http) => GenerateAsync(simulator, http, call, MostBytesWithImages))
                .WithMetadata(new RequestSizeLimitAttribute(MostBytesWithImages + MostBytes));
        }

        api.MapGet("/progress", (string? skip_current_image) => Json(simulator.GlobalProgress(IsTrue(skip_current_image))))
            .Only(simulator, profile => profile.HasGlobalProgress);
        api.MapPost("/interrupt", () =>
        {
            simulator.Interrupt();
            return Json(new { });
        }).Only(simulator, profile => profile.HasInterrupt);
        api.MapGet("/options", () => Json(simulator.Options())).Only(simulator);
        api.MapGet("/samplers", () => Json(SimulatorCatalogue.Samplers)).Only(simulator);
        api.MapGet("/schedulers", () => Json(SimulatorCatalogue.Schedulers)).Only(simulator, profile => profile.HasSchedulers);
        api.MapGet("/sd-models", () => Json(simulator.Models())).Only(simulator);
        api.MapGet("/memory", () => Json(Memory())).Only(simulator, profile => profile.HasOpenApi);
        foreach (var (name, list) in (IEnumerable<(string, Func<object>)>)
        [
            ("upscalers", () => SimulatorCatalogue.Upscalers),
            ("latent-upscale-modes", () => SimulatorCatalogue.LatentUpscaleModes),
            ("loras", () => SimulatorCatalogue.Loras),
            ("embeddings", () => new { loaded = new { }, skipped = new { } }),
            ("sd-vae", () => SimulatorCatalogue.Modules(simulator.Profile)),
            ("sd-modules", () => SimulatorCatalogue.Modules(simulator.Profile)),
        ])
        {
            api.MapGet($"/{name}", () => Json(list())).Only(simulator, profile => Extras(profile).Contains(name));
        }

        var inner = group.MapGroup("/internal");
        inner.MapGet("/ping", () => Json(new { })).Only(simulator, profile => profile.HasInternal);
        inner.MapGet("/pending-tasks", () => Json(simulator.PendingTasks()))
            .Only(simulator, profile => profile is { HasInternal: true, HasTaskIds: true });
        inner.MapPost("/progress", TaskProgressAsync).Only(simulator, profile => profile.HasInternal);
        group.MapGet("/api/extra/version", () => Json(new { result = "KoboldCpp", version = "1.95" }))
            .Only(simulator, profile => profile == SimulatorProfile.KoboldCpp);
        group.MapGet("/openapi.json", () => Json(SimulatorCatalogue.OpenApi(simulator.Profile, Paths(simulator.Profile))))
            .Only(simulator, profile => profile.HasOpenApi);

        group.MapGet("/faults", () => ShowFaults(simulator));
        group.MapPost("/faults", SetFaultAsync);
        group.MapDelete("/faults", () =>
        {
            simulator.Faults.Clear();
            return ShowFaults(simulator);
        });
        group.MapGet("/stats", () => Json(simulator.Stats.Snapshot()));
        group.MapDelete("/stats", () =>
        {
            simulator.Stats.Clear();
            return Json(simulator.Stats.Snapshot());
        });
        group.Map("/{**path}", NotServedAsync).Only(simulator);
        return group;
    }

    /// <summary>Applies the faults of a whole server to an endpoint, and hides it where this kind of server does not have it.</summary>
    private static void Only(this RouteHandlerBuilder endpoint, ForgeSimulator simulator, Func<SimulatorProfile, bool>? has = null) =>
        endpoint.AddEndpointFilter(async (context, next) =>
        {
            // Forge's --api-auth covers /sdapi alone and its web server is up before the API; a proxy's password and its 503 are before all
            // of it.
            var isApi = context.HttpContext.Request.Path.StartsWithSegments($"{Path}/sdapi");
            return simulator.Faults.Take(fault =>
                fault is SimulatorFaults.Unavailable or SimulatorFaults.Unauthorized || (isApi && fault == SimulatorFaults.Loading)) switch
            {
                SimulatorFaults.Unavailable => SimulatedAnswer.Unavailable,
                SimulatorFaults.Unauthorized => SimulatedAnswer.Unauthorized,
                SimulatorFaults.Loading => SimulatedAnswer.NotFound,
                _ => has?.Invoke(simulator.Profile) == false ? await NotServedAsync(simulator, context.HttpContext) : await next(context),
            };
        });

    private static async Task<SimulatedAnswer> NotServedAsync(ForgeSimulator simulator, HttpContext context)
    {
        simulator.Stats.NoteUnknownPath($"{context.Request.Method} {context.Request.Path.Value?[Path.Length..]}");
        return await OrResetAsync(() => HttpMethods.IsPost(context.Request.Method)
            ? simulator.UnknownPostAsync()
            : Task.FromResult(simulator.Profile.NotServed));
    }

    private static async Task<SimulatedAnswer> GenerateAsync(ForgeSimulator simulator, HttpContext context, SimulatorCall call, int most) =>
        call == SimulatorCall.Upscale && !simulator.Profile.HasExtras ? await NotServedAsync(simulator, context)
        : await ReadAsync(context, most) is { } body ? await OrResetAsync(() => simulator.GenerateAsync(body, call))
        : TooLarge(most);

    private static async Task<SimulatedAnswer> OrResetAsync(Func<Task<SimulatedAnswer>> answer)
    {
        try
        {
            return await answer();
        }
        catch (OperationCanceledException)
        {
            // The application stops, and with it this server.
            return SimulatedAnswer.ConnectionReset;
        }
    }

    private static async Task<SimulatedAnswer> TaskProgressAsync(ForgeSimulator simulator, HttpContext context) =>
        await ReadAsync(context) is { } body ? simulator.TaskProgress(body) : TooLarge();

    private static async Task<SimulatedAnswer> SetFaultAsync(ForgeSimulator simulator, HttpContext context)
    {
        if (await ReadAsync(context) is not { } body)
            return TooLarge();
        try
        {
            var request = JsonSerializer.Deserialize<FaultRequest>(body.Span, SimulatorJson.Options);
            simulator.Faults.Set(request?.Fault ?? "", request?.Times);
            return ShowFaults(simulator);
        }
        catch (JsonException)
        {
            return BadRequest("""Send {"fault": "<name>"}, and "times": <number> if it is to end by itself.""");
        }
        catch (ArgumentException e)
        {
            return BadRequest(e.Message);
        }
    }

    private static SimulatedAnswer ShowFaults(ForgeSimulator simulator)
    {
        var (fault, timesLeft) = simulator.Faults.Current;
        return Json(new { fault, times_left = timesLeft, known = SimulatorFaults.Known });
    }

    private static IEnumerable<string> Paths(SimulatorProfile profile) =>
    [
        "/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/progress", "/sdapi/v1/interrupt", "/sdapi/v1/options", "/sdapi/v1/samplers",
        "/sdapi/v1/sd-models", "/sdapi/v1/memory",
        .. Extras(profile).Select(name => $"/sdapi/v1/{name}"),
        .. profile.HasSchedulers ? ["/sdapi/v1/schedulers"] : Array.Empty<string>(),
        .. profile.HasInternal ? ["/internal/progress", "/internal/ping"] : Array.Empty<string>(),
        .. profile is { HasInternal: true, HasTaskIds: true } ? ["/internal/pending-tasks"] : Array.Empty<string>(),
        .. profile == SimulatorProfile.SdNext ? ["/sdapi/v1/motd"] : Array.Empty<string>(),
    ];

    private static IEnumerable<string> Extras(SimulatorProfile profile) => profile.HasExtras
        ? ["extra-single-image", "upscalers", "latent-upscale-modes", "loras", "embeddings", profile.HasModules ? "sd-modules" : "sd-vae"]
        : [];

    private static object Memory()
    {
        var total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        var used = Environment.WorkingSet;
        return new { ram = new { free = Math.Max(0, total - used), used, total }, cuda = new { error = "unavailable" } };
    }

    private static bool IsTrue(string? text) => text?.ToLowerInvariant() is "true" or "1";

    /// <summary>The body; null when it is larger than any request for an image.</summary>
    private static async Task<ReadOnlyMemory<byte>?> ReadAsync(HttpContext context, int most = MostBytes)
    {
        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        int read;
        while ((read = await context.Request.Body.ReadAsync(buffer, context.RequestAborted)) > 0)
        {
            if (body.Length + read > most)
                return null;
            body.Write(buffer, 0, read);
        }

        return body.GetBuffer().AsMemory(0, (int)body.Length);
    }

    private static SimulatedAnswer Json<T>(T value) => SimulatedAnswer.Json(value);

    private static SimulatedAnswer BadRequest(string detail) => SimulatedAnswer.Json(new { detail }, StatusCodes.Status400BadRequest);

    private static SimulatedAnswer TooLarge(int most = MostBytes) => SimulatedAnswer.Json(
        new { detail = $"The simulator takes bodies of at most {most / 1024 / 1024} MiB here." }, StatusCodes.Status413PayloadTooLarge);

    private sealed record FaultRequest(string? Fault, int? Times);
}
