using Hangfire.Dashboard;
using ImageQueue.Core.Requests;
using Microsoft.AspNetCore.WebUtilities;

namespace ImageQueue.Web.Dashboard;

/// <summary>Commands over everything that matches a search, and their progress.</summary>
internal static class BulkPart
{
    /// <summary>Buttons for all matches of a search; nothing for a read-only operator.</summary>
    public static Markup Buttons(ImageDashboardRequest request, string tab, RequestSearch search)
    {
        if (request.IsReadOnly)
            return Markup.None;
        var query = DashboardFormat.Query(
            ("show", tab), ("user", search.Username), ("q", search.Text), ("backend", search.Backend), ("code", search.ErrorCode));
        return Markup.Join(tab switch
        {
            "waiting" or "running" => [Button("Cancel all matching", "cancel", "Cancel all {0} matching images?", "default")],
            "complete" or "ended" => [Erase()],
            _ => [Button("Retry all matching", "retry", "Retry all {0} matching images?", "default"), Erase()],
        });

        Markup Erase() => Button(
            "Delete all matching", "erase",
            "Delete all {0} matching images for good? Their text, images and metadata are erased, in the chat as well.", "danger");

        Markup Button(string text, string verb, string confirm, string style) => Markup.Of(
            $"""
            <button type="button" class="btn btn-sm btn-{style}" data-iq-post="{request.Root}/commands/matching/{verb}"
            data-iq-value="{query}" data-iq-count="{request.Root}/live/count{query}" data-iq-confirm="{confirm}">{text}</button>
            """);
    }

    /// <summary>Running commands and those of the last minutes.</summary>
    public static Markup Progress(ImageDashboardRequest request)
    {
        var commands = request.Get<BulkCommands>().List();
        return commands.Count == 0
            ? Markup.None
            : Markup.Of($"<ul class=\"iq-bulk\" aria-label=\"Bulk commands\">{Markup.Join(commands, Row)}</ul>");

        Markup Row(BulkCommand command) => Markup.Of(
            $"""
            <li><span>{command.Verb} all matching, by {command.By}</span>
            <progress max="{Math.Max(1, command.Total)}" value="{command.Done + command.Refused}"
            aria-label="Progress of {command.Verb}"></progress>
            <span>{command.Done:n0} of {command.Total:n0} done{Refused(command)}{End(command)}</span>
            {(command.IsRunning ? request.Button("Stop", "/commands/matching/stop", command.Id) : Markup.None)}</li>
            """);

        Markup Refused(BulkCommand command) => command.Refused > 0 ? Markup.Of($", {command.Refused:n0} refused") : Markup.None;

        string End(BulkCommand command) =>
            command.IsRunning ? "" : command.State == "Deleted" ? " (stopped)" : $" ({command.State.ToLowerInvariant()})";
    }

    public static Task<ImageCommands.Tally> Start(ImageDashboardRequest request, BulkVerb verb, string query)
    {
        var values = QueryHelpers.ParseQuery(query);
        var (tab, search) = ImagesPage.SearchOf(key => values.TryGetValue(key, out var value) ? value.ToString() : null);
        // Without a filter a slip would empty the queue.
        if (!ImagesPage.IsFiltered(search) || !IsAllowed(verb, tab))
            return Task.FromResult(ImageCommands.Tally.Of(false));
        request.Get<BulkCommands>().Start(verb, search, request.Http.User.Identity?.Name ?? "");
        return Task.FromResult(ImageCommands.Tally.Of(true) with { Started = true });
    }

    private static bool IsAllowed(BulkVerb verb, string tab) => verb switch
    {
        BulkVerb.Cancel => tab is "waiting" or "running",
        BulkVerb.Retry => tab is "error" or "cancelled",
        _ => tab is not ("waiting" or "running"),
    };

    /// <summary>How many images match, for the confirmation.</summary>
    internal sealed class Count : IDashboardDispatcher
    {
        public async Task Dispatch(DashboardContext context)
        {
            var request = new ImageDashboardRequest(context.GetHttpContext(), context.IsReadOnly);
            var (_, search) = ImagesPage.SearchOf(request.QueryValue);
            request.Http.Response.Headers.CacheControl = "no-store";
            await request.Http.Response.WriteAsJsonAsync(
                new { count = await request.Get<IOperatorStore>().CountMatchingAsync(search, request.Aborted) }, request.Aborted);
        }
    }
}
