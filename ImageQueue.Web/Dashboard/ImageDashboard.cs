using System.Reflection;
using Hangfire;
using Hangfire.Dashboard;
using Hangfire.InMemory;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Webhooks;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Adds the image pages, commands and tiles to Hangfire's dashboard. Hangfire keeps its routes per process, so they are added once,
/// and each finds its host's services through its request.
/// </summary>
internal static class ImageDashboard
{
    private static readonly Lazy<bool> IsAdded = new(() =>
    {
        Add();
        return true;
    });

    public static void AddImageDashboard(this IServiceCollection services)
    {
        services.AddSingleton<DashboardSummary>();
        services.AddSingleton<StatisticsReader>();
        services.AddHostedService<SweepKeeper>();
    }

    /// <summary>Adds the pages to Hangfire's dashboard, whose routes and tiles are static: once in a process.</summary>
    public static void AddPages() => _ = IsAdded.Value;

    public static JobStorage StorageOf(IServiceProvider services)
    {
        var storage = services.GetRequiredService<JobStorage>();
        return storage is InMemoryStorage ? new DashboardStorage(storage) : storage;
    }

    public static async Task<bool> RetryAsync(ImageDashboardRequest request, long message)
    {
        try
        {
            return (await request.Get<RetryImageRequest>().RetryForOperatorAsync(message, request.Aborted)).Applied;
        }
        catch (TooManyPendingException)
        {
            return false;
        }
    }

    /// <summary>Erases an image message: text, metadata and files.</summary>
    private static async Task<bool> EraseAsync(ImageDashboardRequest request, long message)
    {
        // Other messages of a conversation belong to the chat app.
        if (await request.Get<IMessageStore>().FindAsync(message, request.Aborted) is not { IsImage: true })
            return false;
        try
        {
            return await request.Get<EraseMessages>().EraseAsync(message, request.Aborted);
        }
        catch (IOException e)
        {
            request.Get<ILoggerFactory>().CreateLogger(typeof(ImageDashboard)).LogWarning(
                e, "A file of message {MessageId} could not be removed.", message);
            return false;
        }
    }

    private static void Add()
    {
        AddPage("/images", "Images", (_, request) => ImagesPage.ShowAsync(request));
        AddPage("/images/(?<id>[0-9]{1,18})", "Image", (match, request) =>
            ImagePage.ShowAsync(request, long.Parse(match, CultureInfo.InvariantCulture)));
        AddPage("/backends", "Backends", (_, request) => BackendsPage.ShowAsync(request));
        AddPage("/failures", "Failures", (_, request) => FailuresPage.ShowAsync(request));

        DashboardRoutes.Routes.Add("/live/status", new ImageDashboardPage.Part(StatusBar.ShowAsync));
        DashboardRoutes.Routes.Add("/live/count", new BulkPart.Count());
        // dashboard.js inserts it into Hangfire's home page.
        DashboardRoutes.Routes.Add("/live/overview", new ImageDashboardPage.Part(Overview.ShowAsync));

        AddImageCommand(
            "cancel", async (request, id) => (await request.Get<CancelImageRequest>().CancelAsync(id, request.Aborted)).Applied);
        AddImageCommand("retry", RetryAsync);
        AddImageCommand(
            "front", async (request, id) => (await request.Get<PrioritizeImageRequest>().MoveAsync(id, request.Aborted)).Applied);
        AddImageCommand("erase", EraseAsync);
        AddCommand("/commands/failures/retry", FailuresPage.RetryAsync);
        AddCommand(
            "/commands/backends/pause", (request, name) => request.Get<Pauses>().PauseBackendAsync(name, Actor(request), request.Aborted));
        AddCommand("/commands/backends/resume", (request, name) => request.Get<Pauses>().ResumeBackendAsync(name, request.Aborted));
        AddCommand(
            "/commands/backends/drain",
            async (request, name) => await request.Get<DrainBackend>().DrainAsync(name, Actor(request), request.Aborted) is not null);
        AddCommand("/commands/backends/probe", (request, name) => Task.FromResult(Probe(request.Get<BackendPool>(), name)));
        AddCommand("/commands/matching/cancel", (request, query) => BulkPart.Start(request, BulkVerb.Cancel, query));
        AddCommand("/commands/matching/retry", (request, query) => BulkPart.Start(request, BulkVerb.Retry, query));
        AddCommand("/commands/matching/erase", (request, query) => BulkPart.Start(request, BulkVerb.Erase, query));
        AddCommand("/commands/matching/stop", (request, job) => Task.FromResult(request.Get<BulkCommands>().Stop(job)));
        AddCommand("/commands/conditions/check", (_, _) => Task.FromResult(true)); // Every command reads the conditions again.
        AddCommand("/commands/sweep/schedule", (request, _) =>
        {
            request.Get<RecurringJobs>().Schedule();
            return Task.FromResult(true);
        });
        AddCommand("/commands/webhooks/resume", (request, name) => request.Get<WebhookSuspensions>().ResumeAsync(name, request.Aborted));
        AddCommand("/commands/queue/pause", async (request, _) =>
        {
            await request.Get<Pauses>().PauseQueueAsync(Actor(request), request.Aborted);
            return true;
        });
        AddCommand("/commands/queue/resume", async (request, _) =>
        {
            await request.Get<Pauses>().ResumeQueueAsync(request.Aborted);
            return true;
        });

        AddMenu("Images", "/images");
        AddMenu("Backends", "/backends");
        AddMenu("Failures", "/failures");

        var assembly = Assembly.GetExecutingAssembly();
        GlobalConfiguration.Configuration
            .UseDashboardStylesheet(assembly, "ImageQueue.Web.Dashboard.dashboard.css")
            .UseDashboardStylesheet(assembly, "ImageQueue.Web.Dashboard.overview.css")
            .UseDashboardJavaScript(assembly, "ImageQueue.Web.Dashboard.dashboard.js")
            .UseJobDetailsRenderer(-10, RenderJob);
        Tiles.Add();
    }

    private static void AddPage(string path, string title, Func<string, ImageDashboardRequest, Task<Markup>> show)
    {
        DashboardRoutes.Routes.AddRazorPage(
            path, match => new ImageDashboardPage(title, request => show(match.Groups["id"].Value, request)));
        // The route has matched.
        DashboardRoutes.Routes.Add(
            $"/live{path}", new ImageDashboardPage.Part(request => show(request.Http.Request.Path.Value!.Split('/')[^1], request)));
    }

    private static void AddImageCommand(string verb, Func<ImageDashboardRequest, long, Task<bool>> doAsync) => AddCommand(
        $"/commands/images/{verb}",
        async (request, text) =>
            long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) && await doAsync(request, id));

    private static void AddCommand(string path, Func<ImageDashboardRequest, string, Task<bool>> doAsync) =>
        AddCommand(path, async (request, one) => ImageCommands.Tally.Of(await doAsync(request, one)));

    private static void AddCommand(string path, Func<ImageDashboardRequest, string, Task<ImageCommands.Tally>> doAsync) =>
        DashboardRoutes.Routes.Add(path, new ImageCommands(doAsync));

    private static void AddMenu(string text, string path) => NavigationMenu.Items.Add(page => new MenuItem(text, page.Url.To(path))
    {
        Active = page.RequestPath.StartsWith(path, StringComparison.OrdinalIgnoreCase),
    });

    private static NonEscapedString RenderJob(JobDetailsRendererDto job)
    {
        if (job.JobDetails.Job is not { } method || !ImageJobs.IsImageJob(method) || method.Args is not [long message, ..])
            return new NonEscapedString("");
        var request = new ImageDashboardRequest(job.Page.Context.GetHttpContext(), job.Page.IsReadOnly);
        return new NonEscapedString(ImagePage.OfJobAsync(request, message).GetAwaiter().GetResult().ToString());
    }

    /// <summary>Probes one backend, or all by "*".</summary>
    private static bool Probe(BackendPool pool, string name) =>
        name == "*" ? pool.Backends.Select(backend => pool.ProbeNow(backend.Name)).ToList().Count > 0 : pool.ProbeNow(name);

    private static string Actor(ImageDashboardRequest request) => request.Http.User.Identity?.Name ?? "";
}
