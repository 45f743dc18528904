using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>A table of image requests with the columns and commands of its tab.</summary>
internal static class ImagesTable
{
    private static readonly string[] RunningColumns =
        ["Image", "Id", "User", "Prompt", "Size", "Progress", "Backend", "Running for", "ETA"];

    private static readonly string[] WaitingColumns = ["#", "Id", "User", "Prompt", "Size", "Waiting for", "ETA"];

    private static readonly string[] FinishedColumns = ["Image", "Id", "User", "Prompt", "Size", "Backend", "Outcome", "Finished"];

    public static async Task<Markup> ShowAsync(ImageDashboardRequest request, LivePositions live, string tab, List<MessageChange> requests)
    {
        if (requests.Count == 0)
            return Markup.Of($"<div class=\"alert alert-info\">No images found.</div>");
        var now = request.Get<TimeProvider>().GetUtcNow();
        var histories = tab == "running"
            ? await request.Get<IOperatorStore>().ReadEventsAsync([.. requests.Select(one => one.Message.Id)], request.Aborted)
            : new Dictionary<long, IReadOnlyList<RequestEvent>>();
        var columns = tab switch { "running" => RunningColumns, "waiting" => WaitingColumns, _ => FinishedColumns };
        var all = request.IsReadOnly
            ? Markup.None
            : Markup.Of($"<th scope=\"col\"><input type=\"checkbox\" data-iq-all aria-label=\"Select all of this page\"></th>");
        return Markup.Of(
            $"""
            {Actions(request, tab)}
            <div class="table-responsive" tabindex="0" role="region" aria-label="Images">
            <table class="table table-hover iq-table" aria-label="Images">
            <thead><tr>{all}{Markup.Columns(columns)}</tr></thead>
            <tbody>{Markup.Join(requests, one => Markup.Of($"<tr>{Pick(one.Message.Id)}{Cells(one)}</tr>"))}</tbody>
            </table></div>
            """);

        Markup Pick(long id) => request.IsReadOnly ? Markup.None : Markup.Of(
            $"<td><input type=\"checkbox\" id=\"pick-{id}\" data-iq-pick value=\"{id}\" aria-label=\"Select image {id}\"></td>");

        Markup Cells(MessageChange one) => tab switch
        {
            "running" => Running(request, live, now, one, StartedAt(histories, one.Message)),
            "waiting" => Waiting(request, live, now, one),
            _ => Finished(request, now, one),
        };
    }

    public static string SizeOf(Message message) =>
        message.Metadata.TryGetProperty(MetadataFields.Settings, out var settings)
            && settings.ValueKind == JsonValueKind.Object
            && settings.TryGetProperty("width", out var width) && settings.TryGetProperty("height", out var height)
                ? $"{width}×{height}"
                : "";

    public static Markup StatusOf(Message message) =>
        Markup.Of($"<span class=\"label iq-status iq-{message.Status}\">{message.Status}</span>");

    /// <summary>The duration of a complete image, or the error of a failed one.</summary>
    public static Markup OutcomeOf(Message message) => message.Status switch
    {
        MessageStatus.Complete when message.Metadata.TryGetProperty(MetadataFields.Result, out var result)
            && result.ValueKind == JsonValueKind.Object
            && result.TryGetProperty("duration_seconds", out var seconds) && seconds.TryGetDouble(out var took) =>
                Markup.Of($"{DashboardFormat.Duration(took)}"),
        MessageStatus.Error => Markup.Of($"<code>{message.ErrorCode}</code> {DashboardFormat.OneLine(message.Error ?? "", 120)}"),
        _ => Markup.None,
    };

    private static DateTimeOffset? StartedAt(IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>> histories, Message message) =>
        histories.GetValueOrDefault(message.Id)?.LastOrDefault(step => step.What == RequestEventKinds.Claimed)?.At;

    private static Markup Actions(ImageDashboardRequest request, string tab)
    {
        if (request.IsReadOnly)
            return Markup.None;
        var cancel = Bulk("Cancel", "cancel", "Cancel the {0} selected images?");
        var retry = Bulk("Retry", "retry", null);
        var delete = Bulk(
            "Delete",
            "erase",
            "Delete the {0} selected images for good? Their text, images and metadata are erased, in the chat as well. "
                + "This cannot be undone.",
            "danger");
        var own = tab switch
        {
            "waiting" => Markup.Join([Bulk("Move to front", "front", null), cancel]),
            "running" => cancel,
            "complete" => Markup.None,
            _ => retry,
        };
        return Markup.Of($"<div class=\"iq-actions\">{own}{delete}</div>");

        // The script replaces {0} by the number of selected images.
        Markup Bulk(string text, string verb, string? confirm, string style = "default") => Markup.Of(
            $"""
            <button type="button" class="btn btn-sm btn-{style}" data-iq-post="{request.Root}/commands/images/{verb}"
            data-iq-picked data-iq-confirm="{confirm}" disabled>{text}</button>

            """);
    }

    private static Markup Running(
        ImageDashboardRequest request, LivePositions live, DateTimeOffset now, MessageChange one, DateTimeOffset? startedAt)
    {
        var message = one.Message;
        return Markup.Of(
            $"""
            <td>{Thumbnail(message.PreviewUrl)}</td>{Common(request, one)}
            <td class="iq-progress"><progress max="100" value="{message.Progress}" aria-label="Progress of image {message.Id}"></progress>
            {message.Progress} %</td>
            <td>{message.Backend}</td><td>{DashboardFormat.Ago(now, startedAt)}</td><td>{DashboardFormat.Duration(live.EtaOf(message))}</td>
            """);
    }

    private static Markup Waiting(ImageDashboardRequest request, LivePositions live, DateTimeOffset now, MessageChange one) => Markup.Of(
        $"""
        <td class="iq-number">{live.Of(one.Message)}</td>{Common(request, one)}
        <td>{DashboardFormat.Ago(now, one.Message.QueuedAt)}</td><td>{DashboardFormat.Duration(live.EtaOf(one.Message))}</td>
        """);

    private static Markup Finished(ImageDashboardRequest request, DateTimeOffset now, MessageChange one) => Markup.Of(
        $"""
        <td>{Thumbnail(one.Message.ThumbnailUrl)}</td>{Common(request, one)}<td>{one.Message.Backend}</td>
        <td>{StatusOf(one.Message)} {OutcomeOf(one.Message)}</td><td>{DashboardFormat.Ago(now, one.Message.FinishedAt)} ago</td>
        """);

    private static Markup Common(ImageDashboardRequest request, MessageChange one) => Markup.Of(
        $"""
        <td>{request.Link($"/images/{one.Message.Id}", one.Message.Id)}</td>
        <td class="iq-user">{DashboardFormat.OneLine(one.Username, 30)}</td>
        <td class="iq-prompt">{DashboardFormat.OneLine(one.Message.Prompt ?? "", 120)}</td><td>{SizeOf(one.Message)}</td>
        """);

    private static Markup Thumbnail(string? url) => url is not null
        ? Markup.Of($"<img src=\"~{url}\" alt=\"\" width=\"48\" height=\"48\" class=\"iq-thumb\" loading=\"lazy\">")
        : Markup.Of($"<span class=\"iq-thumb\"></span>");
}
