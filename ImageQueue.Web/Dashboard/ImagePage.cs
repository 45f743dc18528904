using System.Globalization;
using System.Text.Json;
using Hangfire;
using Hangfire.Storage.Monitoring;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>One image: picture, what is known of it, what Hangfire did with it, and what can be done about it.</summary>
internal static class ImagePage
{
    public static async Task<Markup> ShowAsync(DeskRequest request, long id)
    {
        if ((await request.Get<IFeedStore>().ReadChangesAsync([id], request.Aborted)).SingleOrDefault() is not { Message.IsImage: true } one)
            return Markup.Of($"<div class=\"alert alert-warning\">There is no image {id}. It may have been erased.</div>");
        return Markup.Of($"{await PartAsync(request, one)}{Metadata(one.Message)}");
    }

    /// <summary>The same in Hangfire's own page of the job.</summary>
    public static async Task<Markup> OfJobAsync(DeskRequest request, long messageId)
    {
        if ((await request.Get<IFeedStore>().ReadChangesAsync([messageId], request.Aborted)).SingleOrDefault() is not { Message.IsImage: true } one)
            return Markup.Of($"<div class=\"desk-image\">Image {messageId} is no more.</div>");
        return await PartAsync(request, one);
    }

    private static async Task<Markup> PartAsync(DeskRequest request, MessageChange one)
    {
        var (message, now) = (one.Message, request.Get<TimeProvider>().GetUtcNow());
        var live = await request.Get<QueuePositions>().GetAsync(request.Aborted);
        var position = live.Of(message);
        return Markup.Of(
            $"""
            <div class="desk-image">
            <div class="desk-picture">{Picture(message)}</div>
            <div class="desk-facts">
            <p>{ImagesPage.StatusOf(message)} {ImagesPage.OutcomeOf(message)}</p>
            <p class="desk-words">{message.Prompt}</p>
            <dl class="dl-horizontal">
            {Fact("User", Markup.Of($"<a href=\"{request.Root}/images{Query("user", one.Username)}\">{one.Username}</a>"))}
            {Fact("Conversation", Markup.Of($"<a href=\"{request.Root}/images{Query("q", message.ConversationId)}\">{message.ConversationId}</a>"))}
            {Fact("Image", Markup.Of($"<a href=\"{request.Root}/images/{message.Id}\">{message.Id}</a> <code>{message.JobId}</code>"))}
            {(message.HangfireJobId is { } job ? Fact("Hangfire job", Markup.Of($"<a href=\"{request.Root}/jobs/details/{job}\">{job}</a>")) : Markup.None)}
            {(position > 0 ? Fact("Position", Markup.Of($"{position}, ready in {Words.Duration(live.EtaOf(message))}")) : Markup.None)}
            {(message.Status == MessageStatus.Processing ? Fact("Progress", Markup.Of($"<progress max=\"100\" value=\"{message.Progress}\" aria-label=\"Progress\"></progress> {message.Progress} %")) : Markup.None)}
            {Fact("Attempts", Markup.Of($"{message.Attempt}{(message.Failures > 0 ? $", of which {message.Failures} may be the request's own fault" : "")}"))}
            {(message.Backend is { } forge ? Fact("Forge", Markup.Of($"{forge}")) : Markup.None)}
            </dl>
            <p>{Buttons(request, message)}</p>
            </div>
            {Timeline(request, message, now)}
            </div>
            """);
    }

    private static Markup Buttons(DeskRequest request, Message message)
    {
        var id = message.Id.ToString(CultureInfo.InvariantCulture);
        return message.Status switch
        {
            MessageStatus.Queued => Markup.Join(
                [request.Button("Move to front", "/desk/images/front", id), request.Button("Cancel", "/desk/images/cancel", id, "Cancel this image?", "danger")]),
            MessageStatus.Processing => request.Button("Cancel", "/desk/images/cancel", id, "Cancel this image?", "danger"),
            MessageStatus.Error or MessageStatus.Cancelled => request.Button("Retry", "/desk/images/retry", id, style: "primary"),
            _ => Markup.None,
        };
    }

    private static Markup Picture(Message message) => (message.ImageUrl ?? message.PreviewUrl) is { } url
        ? Markup.Of($"<a href=\"{url}\"><img src=\"{url}\" alt=\"The picture\" loading=\"lazy\"></a>")
        : Markup.Of($"<div class=\"desk-nothing\">No picture</div>");

    /// <summary>From the row, and, while Hangfire keeps the job, each state that it came to, with how long it was in it.</summary>
    private static Markup Timeline(DeskRequest request, Message message, DateTimeOffset now)
    {
        var details = message.HangfireJobId is { } job ? request.Get<JobStorage>().GetMonitoringApi().JobDetails(job) : null;
        var steps = new List<(DateTimeOffset At, string What, string? Why)> { (message.CreatedAt, "Submitted", null) };
        foreach (var state in details?.History.OrderBy(state => state.CreatedAt) ?? Enumerable.Empty<StateHistoryDto>())
            steps.Add((new DateTimeOffset(DateTime.SpecifyKind(state.CreatedAt, DateTimeKind.Utc)), Name(state), state.Reason ?? Worker(state)));
        if (message.Status is MessageStatus.Complete or MessageStatus.Error or MessageStatus.Cancelled)
            steps.Add((message.UpdatedAt, $"The row says {message.Status}", message.Error));
        steps = [.. steps.OrderBy(step => step.At)];
        return Markup.Of(
            $"""
            <h3 class="desk-timeline-title">Timeline</h3>
            <ol class="desk-timeline">{Markup.Join(steps.Select((step, i) => Markup.Of(
                $"<li>{Words.Time(step.At)} <strong>{step.What}</strong> {step.Why} <span class=\"text-muted\">{(i + 1 < steps.Count ? $"for {Words.Duration((steps[i + 1].At - step.At).TotalSeconds)}" : $"{Words.Ago(now, step.At)} ago")}</span></li>")))}</ol>
            """);
    }

    private static string Name(StateHistoryDto state) => state.StateName switch
    {
        "Enqueued" => "Waiting",
        "Processing" => "Taken by a worker",
        var other => other,
    };

    private static string? Worker(StateHistoryDto state) => state.Data is not null && state.Data.TryGetValue("ServerId", out var server) ? server : null;

    private static Markup Metadata(Message message) =>
        Markup.Of($"<h3>Metadata</h3><div class=\"desk-tree\">{Tree(message.Metadata)}</div>");

    private static Markup Tree(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => Markup.Of($"<ul>{Markup.Join(value.EnumerateObject().Select(member => member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array
            ? Markup.Of($"<li><details open><summary>{member.Name}</summary>{Tree(member.Value)}</details></li>")
            : Markup.Of($"<li><b>{member.Name}</b>: {Tree(member.Value)}</li>")))}</ul>"),
        JsonValueKind.Array => Markup.Of($"<ul>{Markup.Join(value.EnumerateArray().Select(item => Markup.Of($"<li>{Tree(item)}</li>")))}</ul>"),
        JsonValueKind.String => Markup.Of($"<span class=\"desk-words\">{value.GetString()}</span>"),
        _ => Markup.Of($"<code>{value.GetRawText()}</code>"),
    };

    private static Markup Fact(string name, Markup value) => Markup.Of($"<dt>{name}</dt><dd>{value}</dd>");

    private static QueryString Query(string key, string value) => Words.Query(("show", "ended"), (key, value));
}
