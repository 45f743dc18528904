using System.Globalization;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>The images: those being painted, those that wait, in their order, and those that have ended.</summary>
internal static class ImagesPage
{
    private const int PageSize = 50;

    /// <summary>How many messages one page of what has ended looks through.</summary>
    private const long Span = 200_000;

    private static readonly (string Key, string Title, string[] Statuses)[] Tabs =
    [
        ("running", "Painting", [MessageStatus.Processing]),
        ("waiting", "Waiting", [MessageStatus.Queued]),
        ("ended", "Ended", [MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled]),
        ("complete", "Complete", [MessageStatus.Complete]),
        ("error", "In error", [MessageStatus.Error]),
        ("cancelled", "Cancelled", [MessageStatus.Cancelled]),
    ];

    public static async Task<Markup> ShowAsync(DeskRequest request)
    {
        var tab = Tabs.FirstOrDefault(tab => tab.Key == request.Asked("show"), Tabs[1]);
        var search = new RequestSearch(tab.Statuses, request.Asked("code"), request.Asked("forge"), request.Asked("user"), request.Asked("q"));
        var isFiltered = (search.ErrorCode ?? search.Backend ?? search.Username ?? search.Text) is not null;
        var live = await request.Get<QueuePositions>().GetAsync(request.Aborted);
        var table = tab.Key == "waiting" && !isFiltered
            ? await WaitingAsync(request, live)
            : await FoundAsync(request, live, tab.Key, search);
        return Markup.Of(
            $"""
            {await Head(request)}
            <ul class="nav nav-tabs desk-tabs">{Markup.Join(Tabs.Select(one => Markup.Of(
                $"<li class=\"{(one.Key == tab.Key ? "active" : "")}\"><a href=\"{request.Root}/images?show={one.Key}\"{(one.Key == tab.Key ? Markup.Of($" aria-current=\"page\"") : Markup.None)}>{one.Title}</a></li>")))}</ul>
            <form method="get" action="{request.Root}/images" class="form-inline desk-filter" role="search">
            <input type="hidden" name="show" value="{tab.Key}">
            {Field("q", "Prompt, id or conversation", search.Text)}{Field("user", "User", search.Username)}{Field("forge", "Forge", search.Backend)}{Field("code", "Error code", search.ErrorCode)}
            <button type="submit" class="btn btn-sm btn-default">Find</button>{(isFiltered ? Markup.Of($" <a class=\"btn btn-sm btn-link\" href=\"{request.Root}/images?show={tab.Key}\">Show all</a>") : Markup.None)}
            </form>
            {table}
            """);
    }

    /// <summary>What is stopped, for all to see.</summary>
    public static async Task<Markup> Head(DeskRequest request)
    {
        var pause = request.Get<Pauses>().OfQueue;
        var waiting = await request.Get<QueuePositions>().CountAsync(request.Aborted);
        return pause is { } stopped
            ? Markup.Of($"<div class=\"alert alert-warning desk-bar\">The queue is paused by {stopped.By} since {Words.Time(stopped.At)}; {waiting} wait, nothing new is begun. {request.Button("Resume the queue", "/desk/queue/resume", "queue", style: "success")}</div>")
            : Markup.Of($"<div class=\"desk-bar\"><span>{waiting} waiting</span> {request.Button("Pause the queue", "/desk/queue/pause", "queue", "Pause the queue? What is being painted is finished, and nothing new is begun.")}</div>");
    }

    private static Markup Field(string name, string label, string? value) =>
        Markup.Of($"<label><span class=\"sr-only\">{label}</span><input class=\"form-control input-sm\" name=\"{name}\" placeholder=\"{label}\" value=\"{value}\" maxlength=\"200\"></label> ");

    /// <summary>By position, exact, whatever page is asked for.</summary>
    private static async Task<Markup> WaitingAsync(DeskRequest request, LivePositions live)
    {
        var snapshot = await request.Get<IQueueOrder>().GetAsync(request.Aborted);
        var from = (int)Math.Min(request.Number("from", 0), Math.Max(0, (snapshot.Count - 1) / PageSize * PageSize));
        var jobs = Enumerable.Range(from + 1, Math.Max(0, Math.Min(PageSize, snapshot.Count - from))).Select(snapshot.At).ToList();
        var waiting = await request.Get<IQueueStore>().FindWaitingAsync(jobs, request.Aborted);
        var requests = (await request.Get<IFeedStore>().ReadChangesAsync([.. waiting.Select(row => row.Id)], request.Aborted))
            .OrderBy(one => live.Of(one.Message)).ToList();
        var pages = Markup.Of(
            $"""
            <p class="desk-pages">{(snapshot.Count == 0 ? "" : $"{from + 1} to {from + jobs.Count} of {snapshot.Count}")}
            {(from > 0 ? Page(request, "Previous", "from", from - PageSize) : Markup.None)}{(from + PageSize < snapshot.Count ? Page(request, "Next", "from", from + PageSize) : Markup.None)}</p>
            """);
        return Markup.Of($"{Table(request, live, "waiting", requests)}{pages}");
    }

    private static async Task<Markup> FoundAsync(DeskRequest request, LivePositions live, string tab, RequestSearch search)
    {
        var before = request.Number("before", long.MaxValue);
        var found = await request.Get<IDeskStore>().SearchAsync(search, before, Span, PageSize + 1, request.Aborted);
        var shown = found.Take(PageSize).ToList();
        var older = found.Count > PageSize ? Page(request, "Older", "before", shown[^1].Message.Id) : Markup.None;
        return Markup.Of($"{Table(request, live, tab, shown)}<p class=\"desk-pages\">{older}</p>");
    }

    private static Markup Page(DeskRequest request, string text, string key, long value)
    {
        var query = request.Http.Request.Query.Where(part => part.Key != key).Select(part => KeyValuePair.Create<string, string?>(part.Key, part.Value.ToString()))
            .Append(KeyValuePair.Create<string, string?>(key, value.ToString(CultureInfo.InvariantCulture)));
        return Markup.Of($"<a class=\"btn btn-sm btn-default\" href=\"{request.Root}/images{QueryString.Create(query)}\">{text}</a> ");
    }

    private static Markup Table(DeskRequest request, LivePositions live, string tab, List<MessageChange> requests)
    {
        if (requests.Count == 0)
            return Markup.Of($"<div class=\"alert alert-info\">There is none.</div>");
        var now = request.Get<TimeProvider>().GetUtcNow();
        var (columns, cells) = ColumnsOf(tab);
        return Markup.Of(
            $"""
            {Actions(request, tab)}
            <div class="table-responsive"><table class="table table-hover desk-table" aria-label="Images">
            <thead><tr>{(request.IsReadOnly ? Markup.None : Markup.Of($"<th><input type=\"checkbox\" data-desk-all aria-label=\"Select all of this page\"></th>"))}{Markup.Join(columns.Select(name => Markup.Of($"<th scope=\"col\">{name}</th>")))}</tr></thead>
            <tbody>{Markup.Join(requests.Select(one => Markup.Of(
                $"<tr>{(request.IsReadOnly ? Markup.None : Markup.Of($"<td><input type=\"checkbox\" id=\"pick-{one.Message.Id}\" data-desk-pick value=\"{one.Message.Id}\" aria-label=\"Select image {one.Message.Id}\"></td>"))}{cells(request, live, now, one)}</tr>")))}</tbody>
            </table></div>
            """);
    }

    private static Markup Actions(DeskRequest request, string tab)
    {
        if (request.IsReadOnly)
            return Markup.None;
        var cancel = Bulk("Cancel", "cancel", "Cancel the selected images?");
        var retry = Bulk("Retry", "retry", null);
        return Markup.Of($"<div class=\"desk-actions\">{(tab switch { "waiting" => Markup.Join([Bulk("Move to front", "front", null), cancel]), "running" => cancel, "complete" => Markup.None, _ => retry })}</div>");

        Markup Bulk(string text, string verb, string? confirm) => Markup.Of(
            $"<button type=\"button\" class=\"btn btn-sm btn-default\" data-desk-post=\"{request.Root}/desk/images/{verb}\" data-desk-picked data-desk-confirm=\"{confirm}\" disabled>{text}</button> ");
    }

    private delegate Markup Cells(DeskRequest request, LivePositions live, DateTimeOffset now, MessageChange one);

    private static (string[] Names, Cells Cells) ColumnsOf(string tab) => tab switch
    {
        "running" => (["", "Image", "User", "Prompt", "Progress", "Forge", "Since", "Ready in"], (request, live, now, one) => Markup.Of(
            $"""
            <td>{Preview(one.Message)}</td>{Common(request, one)}
            <td class="desk-progress"><progress max="100" value="{one.Message.Progress}" aria-label="Progress"></progress> {one.Message.Progress} %</td>
            <td>{one.Message.Backend}</td><td>{Words.Ago(now, one.Message.QueuedAt)}</td><td>{Words.Duration(live.EtaOf(one.Message))}</td>
            """)),
        "waiting" => (["#", "Image", "User", "Prompt", "Size", "Waits", "Ready in"], (request, live, now, one) => Markup.Of(
            $"<td class=\"desk-number\">{live.Of(one.Message)}</td>{Common(request, one)}<td>{Size(one.Message)}</td><td>{Words.Ago(now, one.Message.QueuedAt)}</td><td>{Words.Duration(live.EtaOf(one.Message))}</td>")),
        _ => (["", "Image", "User", "Prompt", "Forge", "Came to", "Ended"], (request, _, now, one) => Markup.Of(
            $"<td>{StatusOf(one.Message)}</td>{Common(request, one)}<td>{one.Message.Backend}</td><td>{OutcomeOf(one.Message)}</td><td>{Words.Ago(now, one.Message.UpdatedAt)} ago</td>")),
    };

    private static Markup Common(DeskRequest request, MessageChange one) => Markup.Of(
        $"<td><a href=\"{request.Root}/images/{one.Message.Id}\">{one.Message.Id}</a></td><td class=\"desk-user\">{Words.OneLine(one.Username, 30)}</td><td class=\"desk-prompt\">{Words.OneLine(one.Message.Prompt ?? "", 120)}</td>");

    private static Markup Preview(Message message) => message.PreviewUrl is { } url
        ? Markup.Of($"<img src=\"{url}\" alt=\"\" width=\"48\" height=\"48\" class=\"desk-thumb\">")
        : Markup.Of($"<span class=\"desk-thumb\"></span>");

    private static string Size(Message message) =>
        message.Metadata.TryGetProperty(MetadataFields.Settings, out var settings) && settings.ValueKind == System.Text.Json.JsonValueKind.Object
            && settings.TryGetProperty("width", out var width) && settings.TryGetProperty("height", out var height) ? $"{width}×{height}" : "";

    /// <summary>The status as a label.</summary>
    public static Markup StatusOf(Message message) => Markup.Of($"<span class=\"label desk-status desk-{message.Status}\">{message.Status}</span>");

    /// <summary>How long it took, or why there is no picture.</summary>
    public static Markup OutcomeOf(Message message) => message.Status switch
    {
        MessageStatus.Complete when message.Metadata.TryGetProperty(MetadataFields.Result, out var result) && result.ValueKind == System.Text.Json.JsonValueKind.Object
            && result.TryGetProperty("duration_seconds", out var seconds) && seconds.TryGetDouble(out var took) => Markup.Of($"{Words.Duration(took)}"),
        MessageStatus.Error => Markup.Of($"<code>{message.ErrorCode}</code> {Words.OneLine(message.Error ?? "", 120)}"),
        _ => Markup.None,
    };
}
