using System.Text.Json;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace ImageQueue.Web.Simulator;

/// <summary>Serves the simulator: Forge's endpoints under <c>/simulator</c>, and a few of its own for faults and statistics.</summary>
public static class SimulatorEndpoints
{
    /// <summary>The path in front of Forge's own paths.</summary>
    public const string Path = "/simulator";

    private const int MostBytes = 1024 * 1024;

    /// <summary>Registers <see cref="ForgeSimulator"/>.</summary>
    public static IServiceCollection AddForgeSimulator(this IServiceCollection services)
    {
        services.AddOptions();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<ForgeSimulator>();
        return services;
    }

    /// <summary>Maps the endpoints. Returns the group, for what the application wants to add to all of them.</summary>
    public static RouteGroupBuilder MapForgeSimulator(this IEndpointRouteBuilder app)
    {
        var simulator = app.ServiceProvider.GetRequiredService<ForgeSimulator>();
        var group = app.MapGroup(Path).ExcludeFromDescription();

        // Has no front door: it asks for all faults at once, so that its requests are seen in the statistics whatever happens.
        group.MapPost("/sdapi/v1/txt2img", TextToImageAsync);

        var api = group.MapGroup("/sdapi/v1");
        api.AddEndpointFilter((context, next) => FrontDoorAsync(simulator, context, next, SimulatorFaults.Unavailable, SimulatorFaults.Loading));
        api.MapGet("/progress", (string? skip_current_image) =>
            Json(simulator.GlobalProgress(PydanticFields.ParseFlag(skip_current_image) ?? false)));
        api.MapPost("/interrupt", () =>
        {
            simulator.Interrupt();
            return Json(new { });
        });
        api.MapGet("/options", () => Json(SimulatorCatalogue.Options));
        api.MapGet("/samplers", () => Json(SimulatorCatalogue.Samplers));
        api.MapGet("/schedulers", () => Json(SimulatorCatalogue.Schedulers));
        api.MapGet("/sd-models", () => Json(simulator.Models()));
        api.MapGet("/memory", () => Json(Memory()));

        var inner = group.MapGroup("/internal");
        inner.AddEndpointFilter((context, next) => FrontDoorAsync(simulator, context, next, SimulatorFaults.Unavailable));
        inner.MapGet("/ping", () => Json(new { }));
        inner.MapGet("/pending-tasks", () => Json(simulator.PendingTasks()));
        inner.MapPost("/progress", TaskProgressAsync);

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
        return group;
    }

    /// <summary>The faults of a whole server, which hit every endpoint and not only the painting.</summary>
    private static ValueTask<object?> FrontDoorAsync(
        ForgeSimulator simulator, EndpointFilterInvocationContext context, EndpointFilterDelegate next, params string[] faults)
    {
        return simulator.Faults.Take(faults.Contains) switch
        {
            SimulatorFaults.Unavailable => new(new Sending(SimulatedAnswer.Unavailable)),
            SimulatorFaults.Loading => new(new Sending(SimulatedAnswer.NotFound)),
            _ => next(context),
        };
    }

    private static async Task<IResult> TextToImageAsync(ForgeSimulator simulator, HttpContext context)
    {
        if (await ReadAsync(context) is not { } body)
        {
            return TooLarge();
        }

        try
        {
            return new Sending(await simulator.TextToImageAsync(body));
        }
        catch (OperationCanceledException)
        {
            // The application stops, and with it this server.
            return new Sending(SimulatedAnswer.ConnectionReset);
        }
    }

    private static async Task<IResult> TaskProgressAsync(ForgeSimulator simulator, HttpContext context) =>
        await ReadAsync(context) is { } body ? new Sending(simulator.TaskProgress(body)) : TooLarge();

    private static async Task<IResult> SetFaultAsync(ForgeSimulator simulator, HttpContext context)
    {
        if (await ReadAsync(context) is not { } body)
        {
            return TooLarge();
        }

        try
        {
            var asked = JsonSerializer.Deserialize<FaultRequest>(body.Span, SimulatorJson.Options);
            simulator.Faults.Set(asked?.Fault ?? "", asked?.Times);
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

    private static Sending ShowFaults(ForgeSimulator simulator)
    {
        var (fault, timesLeft) = simulator.Faults.Current;
        return Json(new { fault, times_left = timesLeft, known = SimulatorFaults.Known });
    }

    private static object Memory()
    {
        var total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        var used = Environment.WorkingSet;
        return new { ram = new { free = Math.Max(0, total - used), used, total }, cuda = new { error = "unavailable" } };
    }

    /// <summary>The body; null when it is larger than any request for a picture.</summary>
    private static async Task<ReadOnlyMemory<byte>?> ReadAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        int read;
        while ((read = await context.Request.Body.ReadAsync(buffer, context.RequestAborted)) > 0)
        {
            if (body.Length + read > MostBytes)
            {
                return null;
            }

            body.Write(buffer, 0, read);
        }

        return body.ToArray();
    }

    private static Sending Json<T>(T value) => new(SimulatedAnswer.Json(value));

    private static Sending BadRequest(string detail) => new(SimulatedAnswer.Json(new { detail }, StatusCodes.Status400BadRequest));

    private static Sending TooLarge() =>
        new(SimulatedAnswer.Json(new { detail = "The simulator takes bodies of at most 1 MiB." }, StatusCodes.Status413PayloadTooLarge));

    private sealed record FaultRequest(string? Fault, int? Times);

    private sealed class Sending(SimulatedAnswer answer) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext) => answer.SendAsync(httpContext);
    }
}
