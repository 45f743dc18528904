using ImageQueue.Core.Backends;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Image requests: processing, waiting in queue order, and finished; with search and bulk commands.</summary>
internal static class ImagesPage
{
    private const int PageSize = 50;

    /// <summary>Finished requests that one search scans: kept messages grow without bound.</summary>
    private const int Span = 50_000;

    /// <summary>The same for a search in prompts.</summary>
    private const int SpanOfText = 25_000;

    /// <summary>Most unfinished requests that a search shows, ordered by position.</summary>
    private const int MostUnfinished = 500;

    private static readonly (string Key, string Title, string[] Statuses)[] Tabs =
    [
        ("running", "Generating", [MessageStatus.Processing]),
        ("waiting", "Waiting", [MessageStatus.Queued]),
        ("ended", "Finished", [MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled]),
        ("complete", "Complete", [MessageStatus.Complete]),
        ("error", "In error", [MessageStatus.Error]),
        ("cancelled", "Cancelled", [MessageStatus.Cancelled]),
    ];

    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var (tabKey, search) = SearchOf(request.QueryValue);
        var tab = Tabs.First(tab => tab.Key == tabKey);
        var isFiltered = IsFiltered(search);
        var live = await request.Get<QueuePositions>().GetAsync(request.Aborted);
        var table = (tab.Key, isFiltered) switch
        {
            ("waiting", false) => await WaitingAsync(request, live),
            ("waiting" or "running", _) => await UnfinishedAsync(request, live, tab.Key, search),
            _ => await FinishedAsync(request, live, tab.Key, search),
        };
        return Markup.Of(
            $"""
            {await Head(request)}
            <ul class="nav nav-tabs iq-tabs">{Markup.Join(Tabs, one => Tab(request, one.Key, one.Title, one.Key == tab.Key))}</ul>
            {Filter(request, tab.Key, search, isFiltered)}
            {BulkPart.Progress(request)}
            {(isFiltered ? Markup.Of($"<div class=\"iq-actions\">{BulkPart.Buttons(request, tab.Key, search)}</div>") : Markup.None)}
            {table}
            """);
    }

    /// <param name="valueOf">A value of the query by its name; a blank one is no filter.</param>
    public static (string Tab, RequestSearch Search) SearchOf(Func<string, string?> valueOf)
    {
        var tab = Tabs.FirstOrDefault(tab => tab.Key == valueOf("show"), Tabs[1]);
        return (
            tab.Key,
            new RequestSearch(
                tab.Statuses, HasCodes(tab.Key) ? Filter("code") : null, Filter("backend"), Filter("user"), Filter("q")?.Trim()));

        string? Filter(string name) => valueOf(name) is { } value && !string.IsNullOrWhiteSpace(value) ? value : null;
    }

    public static bool IsFiltered(RequestSearch search) =>
        (search.ErrorCode ?? search.Backend ?? search.Username ?? search.Text) is not null;

    private static bool HasCodes(string tab) => tab is "ended" or "error";

    public static async Task<Markup> Head(ImageDashboardRequest request)
    {
        var waiting = await request.Get<QueuePositions>().CountAsync(request.Aborted);
        var order = request.Get<IOptions<QueueOptions>>().Value.Order;
        // The status bar shows a paused queue, and resumes it.
        var pause = request.Get<Pauses>().OfQueue is not null ? Markup.None : request.Button(
            "Pause the queue", "/commands/queue/pause", "queue", "Pause the queue? Running images finish, and no waiting request starts.");
        return Markup.Of($"<div class=\"iq-bar\"><span>{waiting} waiting, {DashboardFormat.Order(order)}</span> {pause}</div>");
    }

    private static Markup Tab(ImageDashboardRequest request, string key, string title, bool isShown) => isShown
        ? Markup.Of($"<li class=\"active\"><a href=\"{request.Root}/images?show={key}\" aria-current=\"page\">{title}</a></li>")
        : Markup.Of($"<li>{request.Link($"/images?show={key}", title)}</li>");

    private static Markup Filter(ImageDashboardRequest request, string tab, RequestSearch search, bool isFiltered)
    {
        var backends = request.Get<BackendPool>().Backends.Select(backend => backend.Name);
        return Markup.Of(
            $"""
            <form method="get" action="{request.Root}/images" class="form-inline iq-filter" role="search" aria-label="Images">
            <input type="hidden" name="show" value="{tab}">
            {Field("q", "Prompt, id or conversation", search.Text)}
            {Field("user", "User starts with", search.Username)}
            {Choice("backend", "Any backend", search.Backend, backends)}
            {(HasCodes(tab) ? Choice("code", "Any error", search.ErrorCode, ErrorCodes.All) : Markup.None)}
            <button type="submit" class="btn btn-sm btn-default">Find</button>
            {(isFiltered ? Page(request, "Show all", $"?show={tab}") : Markup.None)}
            </form>
            """);
    }

    private static Markup Field(string name, string label, string? value) => Markup.Of(
        $"""
        <label><span class="sr-only">{label}</span><input class="form-control input-sm"
        name="{name}" placeholder="{label}" value="{value}" maxlength="200"></label>
        """);

    private static Markup Choice(string name, string any, string? value, IEnumerable<string> known)
    {
        var all = value is null || known.Contains(value, StringComparer.OrdinalIgnoreCase) ? known : known.Append(value);
        return Markup.Of(
            $"""
            <label><span class="sr-only">{any}</span><select class="form-control input-sm" name="{name}">
            <option value="">{any}</option>{Markup.Join(all, Option)}</select></label>
            """);

        Markup Option(string one) => string.Equals(one, value, StringComparison.OrdinalIgnoreCase)
            ? Markup.Of($"<option value=\"{one}\" selected>{one}</option>")
            : Markup.Of($"<option value=\"{one}\">{one}</option>");
    }

    /// <summary>A page of waiting requests by exact position.</summary>
    private static async Task<Markup> WaitingAsync(ImageDashboardRequest request, LivePositions live)
    {
        var snapshot = await request.Get<IQueueOrder>().GetAsync(request.Aborted);
        var from = (int)Math.Min(request.Number("from", 0), Math.Max(0, (snapshot.Count - 1) / PageSize * PageSize));
        var jobs = Enumerable.Range(from + 1, Math.Max(0, Math.Min(PageSize, snapshot.Count - from))).Select(snapshot.At).ToList();
        var waiting = await request.Get<IQueueStore>().FindWaitingAsync(jobs, request.Aborted);
        var requests = (await request.Get<IFeedStore>().ReadChangesAsync([.. waiting.Select(row => row.Id)], request.Aborted))
            .OrderBy(one => live.Of(one.Message)).ToList();
        var table = await ImagesTable.ShowAsync(request, live, "waiting", requests);
        return Markup.Of($"{table}{Pages(request, from, jobs.Count, snapshot.Count)}");
    }

    private static async Task<Markup> UnfinishedAsync(ImageDashboardRequest request, LivePositions live, string tab, RequestSearch search)
    {
        var found = await request.Get<IOperatorStore>().SearchUnfinishedAsync(search, MostUnfinished, request.Aborted);
        var ordered = found.OrderBy(one => live.Of(one.Message)).ToList();
        var from = (int)Math.Min(request.Number("from", 0), Math.Max(0, (ordered.Count - 1) / PageSize * PageSize));
        var shown = ordered.Skip(from).Take(PageSize).ToList();
        var more = ordered.Count == MostUnfinished
            ? Markup.Of($"<p class=\"text-muted\">Only the first {MostUnfinished} matches are shown; narrow the search.</p>")
            : Markup.None;
        var table = await ImagesTable.ShowAsync(request, live, tab, shown);
        return Markup.Of($"{table}{more}{Pages(request, from, shown.Count, ordered.Count)}");
    }

    /// <summary>A page of finished requests, the newest end first, next to the place that the query names.</summary>
    private static async Task<Markup> FinishedAsync(ImageDashboardRequest request, LivePositions live, string tab, RequestSearch search)
    {
        var isNewer = request.QueryValue("newer") is not null;
        var place = Cursor(request.QueryValue("newer") ?? request.QueryValue("older"));
        var found = await FindAsync();
        if (isNewer && found is { GoOn: null, Requests.Count: <= PageSize })
        {
            // The newest of all fill the first page.
            (place, isNewer) = (null, false);
            found = await FindAsync();
        }

        var isFull = found.Requests.Count > PageSize;
        var page = (isNewer ? found.Requests.TakeLast(PageSize) : found.Requests.Take(PageSize)).ToList();
        FinishedCursor? ahead = isFull ? Of(isNewer ? page[0] : page[^1]) : found.GoOn;
        FinishedCursor? back = place is null || page.Count == 0 ? place : Of(isNewer ? page[^1] : page[0]);
        var named = place is null && search.Text is { } text ? await NamedAsync(request, search, text.Trim()) : [];
        var ids = named.Select(one => one.Message.Id).ToHashSet();
        var table = await ImagesTable.ShowAsync(request, live, tab, [.. named, .. page.Where(one => !ids.Contains(one.Message.Id))]);
        return Markup.Of(
            $"""
            {table}
            <p>{Link("Newer", "newer", "older", isNewer ? ahead : back)}{Link(
                isNewer || isFull ? "Older" : "Search older", "older", "newer", isNewer ? back : ahead)}</p>
            """);

        Task<FoundRequests> FindAsync() => request.Get<IOperatorStore>().SearchFinishedAsync(
            search, place, isNewer, search.Text is null ? Span : SpanOfText, PageSize + 1, request.Aborted);

        static FinishedCursor Of(MessageChange one) => new(one.Message.FinishedAt.GetValueOrDefault(), one.Message.Id); // It has finished.

        Markup Link(string text, string key, string other, FinishedCursor? cursor) => cursor is { } to
            ? Page(request, text, (key, $"{Text(to.At.ToUnixTimeMilliseconds())}-{Text(to.Id)}"), (other, null))
            : Markup.None;
    }

    /// <summary>A place in the finished requests from a query, such as "1764475200000-17".</summary>
    private static FinishedCursor? Cursor(string? text) =>
        text?.Split('-') is [var at, var id]
        && long.TryParse(at, NumberStyles.None, CultureInfo.InvariantCulture, out var milliseconds)
        && milliseconds <= DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()
        && long.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var message)
            ? new FinishedCursor(DateTimeOffset.FromUnixTimeMilliseconds(milliseconds), message)
            : null;

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>Exact matches of an id, job id, Hangfire job id or conversation, however old.</summary>
    private static async Task<IReadOnlyList<MessageChange>> NamedAsync(ImageDashboardRequest request, RequestSearch search, string text)
    {
        var store = request.Get<IMessageStore>();
        var messages = new List<Message?>
        {
            long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                ? await store.FindAsync(id, request.Aborted)
                : null,
            await store.FindByJobIdAsync(text, request.Aborted),
            await store.FindByHangfireJobAsync(text, request.Aborted),
        };
        messages.AddRange(await store.ListBackwardsAsync(text, long.MaxValue, PageSize, request.Aborted));
        var ids = messages.Where(message => message is { IsImage: true, Status: { } status } && search.Statuses.Contains(status)
                && (search.ErrorCode is null || search.ErrorCode == message.ErrorCode)
                && (search.Backend is null || string.Equals(search.Backend, message.Backend, StringComparison.OrdinalIgnoreCase)))
            .Select(message => message!.Id).ToHashSet();
        return
        [
            .. (await store.ReadChangesAsync(ids, request.Aborted))
                .Where(one => search.Username is null || one.Username.StartsWith(search.Username, StringComparison.OrdinalIgnoreCase))
                .OrderByDescending(one => one.Message.FinishedAt),
        ];
    }

    private static Markup Pages(ImageDashboardRequest request, int from, int count, int all) => Markup.Of(
        $"""
        <p>{(all == 0 ? Markup.None : Markup.Of($"{from + 1:n0} to {from + count:n0} of {all:n0}"))}
        {(from > 0 ? Page(request, "Previous", ("from", Text(from - PageSize))) : Markup.None)}
        {(from + PageSize < all ? Page(request, "Next", ("from", Text(from + PageSize))) : Markup.None)}</p>
        """);

    private static Markup Page(ImageDashboardRequest request, string text, params (string Key, string? Value)[] changes)
    {
        var kept = request.Http.Request.Query.Where(part => changes.All(change => change.Key != part.Key))
            .Select(part => (part.Key, (string?)part.Value.ToString()));
        return Page(request, text, DashboardFormat.Query([.. kept, .. changes]).ToString());
    }

    private static Markup Page(ImageDashboardRequest request, string text, string query) =>
        Markup.Of($"<a class=\"btn btn-sm btn-default\" href=\"{request.Root}/images{query}\">{text}</a> ");
}
