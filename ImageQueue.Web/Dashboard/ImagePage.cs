using System.Globalization;
using System.Text.Json;
using Hangfire;
using Hangfire.Storage.Monitoring;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>One image: the image, its facts, its timeline and its commands.</summary>
internal static class ImagePage
{
    public static async Task<Markup> ShowAsync(ImageDashboardRequest request, long id)
    {
        if ((await request.Get<IFeedStore>().ReadChangesAsync([id], request.Aborted)).SingleOrDefault() is not { Message.IsImage: true } one)
            return Markup.Of($"<div class=\"alert alert-warning\">There is no image {id}. It may have been erased.</div>");
        return Markup.Of($"{await PartAsync(request, one)}{Metadata(one.Message)}");
    }

    /// <summary>The same part for Hangfire's page of the job.</summary>
    public static async Task<Markup> OfJobAsync(ImageDashboardRequest request, long messageId)
    {
        if ((await request.Get<IFeedStore>().ReadChangesAsync([messageId], request.Aborted)).SingleOrDefault() is not { Message.IsImage: true } one)
            return Markup.Of($"<div class=\"iq-image\">Image {messageId} has been erased.</div>");
        return await PartAsync(request, one);
    }

    private static async Task<Markup> PartAsync(ImageDashboardRequest request, MessageChange one)
    {
        var (message, now) = (one.Message, request.Get<TimeProvider>().GetUtcNow());
        var live = await request.Get<QueuePositions>().GetAsync(request.Aborted);
        var position = live.Of(message);
        return Markup.Of(
            $"""
            <div class="iq-image">
            <div class="iq-figure">{Image(message)}</div>
            <div class="iq-facts">
            <p>{ImagesPage.StatusOf(message)} {ImagesPage.OutcomeOf(message)}</p>
            <p class="iq-words">{message.Prompt}</p>
            <dl class="dl-horizontal">
            {Fact("User", Markup.Of($"<a href=\"{request.Root}/images{Query("user", one.Username)}\">{one.Username}</a>"))}
            {Fact("Conversation", Markup.Of($"<a href=\"{request.Root}/images{Query("q", message.ConversationId)}\">{message.ConversationId}</a>"))}
            {Fact("Image", Markup.Of($"<a href=\"{request.Root}/images/{message.Id}\">{message.Id}</a> <code>{message.JobId}</code>"))}
            {(message.HangfireJobId is { } job ? Fact("Hangfire job", Markup.Of($"<a href=\"{request.Root}/jobs/details/{job}\">{job}</a>")) : Markup.None)}
            {(position > 0 ? Fact("Position", Markup.Of($"{position}, ETA {DashboardFormat.Duration(live.EtaOf(message))}")) : Markup.None)}
            {(message.Status == MessageStatus.Processing ? Fact("Progress", Markup.Of($"<progress max=\"100\" value=\"{message.Progress}\" aria-label=\"Progress\"></progress> {message.Progress} %")) : Markup.None)}
            {(ImagesPage.SizeOf(message) is { Length: > 0 } size ? Fact("Size", Markup.Of($"{size}")) : Markup.None)}
            {Fact("Attempts", Markup.Of($"{message.Attempt}{(message.Failures > 0 ? $", {message.Failures} charged to the request" : "")}"))}
            {(message.Backend is { } backend ? Fact("Backend", Markup.Of($"{backend}")) : Markup.None)}
            </dl>
            <p>{Buttons(request, message)}</p>
            </div>
            {await TimelineAsync(request, message, now)}
            </div>
            """);
    }

    private static Markup Buttons(ImageDashboardRequest request, Message message)
    {
        var id = message.Id.ToString(CultureInfo.InvariantCulture);
        var cancel = request.Button("Cancel", "/commands/images/cancel", id, "Cancel this image?");
        var own = message.Status switch
        {
            MessageStatus.Queued => Markup.Join([request.Button("Move to front", "/commands/images/front", id), cancel]),
            MessageStatus.Processing => cancel,
            MessageStatus.Error or MessageStatus.Cancelled => request.Button("Retry", "/commands/images/retry", id, style: "primary"),
            _ => Markup.None,
        };
        return Markup.Join([own, request.Button(
            "Delete", "/commands/images/erase", id, "Delete this image for good? Its text, image and metadata are erased, in the chat as well. This cannot be undone.", "danger")]);
    }

    private static Markup Image(Message message) => (message.ImageUrl ?? message.PreviewUrl) is { } url
        ? Markup.Of($"<a href=\"{url}\"><img src=\"{url}\" alt=\"The image\" loading=\"lazy\"></a>")
        : Markup.Of($"<div class=\"iq-nothing\">No image</div>");

    /// <summary>The row's request events; without any, the states that Hangfire keeps of the job.</summary>
    private static async Task<Markup> TimelineAsync(ImageDashboardRequest request, Message message, DateTimeOffset now)
    {
        var history = (
            await request.Get<IOperatorStore>().ReadEventsAsync([message.Id], request.Aborted)).GetValueOrDefault(message.Id) ?? [];
        var steps = new List<Step> { new(message.CreatedAt, "Submitted", null, "waited") };
        steps.AddRange(history.Count > 0 ? history.Select(StepOf) : OfHangfire(request, message));
        steps.Sort((one, other) => one.At.CompareTo(other.At));
        if (history is [{ Attempt: > 1 } first, ..])
            steps.Insert(1, new(first.At, $"{first.Attempt - 1} earlier attempts are not kept", null, null));
        return Markup.Of(
            $"""
            <h2 class="h3 iq-timeline-title">Timeline</h2>
            <ol class="iq-timeline">{Markup.Join(steps.Select((step, i) => Markup.Of(
                $"<li>{DashboardFormat.Time(step.At)} <strong>{step.What}</strong> <span class=\"iq-words\">{step.Why}</span> <span class=\"text-muted\">{Lasted(steps, i, now)}</span></li>")))}</ol>
            """);
    }

    private static Step StepOf(RequestEvent step) => step.What switch
    {
        RequestEventKinds.Claimed =>
            new(
                step.At,
                step.Backend is { } backend ? $"Attempt {step.Attempt} on {backend}" : $"Attempt {step.Attempt}",
                step.Why,
                "generated for"),
        RequestEventKinds.Requeued => new(step.At, $"Attempt {step.Attempt} ended, back in the queue", step.Why, "waited"),
        RequestEventKinds.Retried => new(step.At, "Retried", step.Why, "waited"),
        RequestEventKinds.Complete => new(step.At, "Complete", step.Why, null),
        RequestEventKinds.Error => new(step.At, "Ended in error", step.Why, null),
        RequestEventKinds.Cancelled => new(step.At, "Cancelled", step.Why, null),
        var other => new(step.At, other, step.Why, null),
    };

    private static IEnumerable<Step> OfHangfire(ImageDashboardRequest request, Message message)
    {
        if (message.HangfireJobId is { } job && request.Get<JobStorage>().GetMonitoringApi().JobDetails(job) is { } details)
        {
            foreach (var state in details.History)
            {
                var at = new DateTimeOffset(DateTime.SpecifyKind(state.CreatedAt, DateTimeKind.Utc));
                yield return new(at, Name(state), state.Reason ?? Worker(state), "for");
            }
        }

        if (message.Status is MessageStatus.Complete or MessageStatus.Error or MessageStatus.Cancelled)
            yield return new(message.UpdatedAt, $"Row status: {message.Status}", message.Error, null);
    }

    private static string Lasted(List<Step> steps, int i, DateTimeOffset now) => (steps[i].Lasting, i + 1 < steps.Count) switch
    {
        (null, true) => "",
        (null, false) => $"{DashboardFormat.Ago(now, steps[i].At)} ago",
        (var word, true) => $"{word} {DashboardFormat.Duration((steps[i + 1].At - steps[i].At).TotalSeconds)}",
        (var word, false) => $"{word} {DashboardFormat.Ago(now, steps[i].At)} so far",
    };

    private sealed record Step(DateTimeOffset At, string What, string? Why, string? Lasting);

    private static string Name(StateHistoryDto state) => state.StateName switch
    {
        "Enqueued" => "Waiting",
        "Processing" => "Fetched by a worker",
        var other => other,
    };

    private static string? Worker(StateHistoryDto state) =>
        state.Data is not null && state.Data.TryGetValue("ServerId", out var server) ? server : null;

    private static Markup Metadata(Message message) =>
        Markup.Of($"<h2 class=\"h3\">Metadata</h2><div class=\"iq-tree\">{Tree(message.Metadata)}</div>");

    private static Markup Tree(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object =>
            Markup.Of($"<ul>{Markup.Join(value.EnumerateObject().Select(member => member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array
            ? Markup.Of($"<li><details open><summary>{member.Name}</summary>{Tree(member.Value)}</details></li>")
            : Markup.Of($"<li><b>{member.Name}</b>: {Tree(member.Value)}</li>")))}</ul>"),
        JsonValueKind.Array =>
            Markup.Of($"<ul>{Markup.Join(value.EnumerateArray().Select(item => Markup.Of($"<li>{Tree(item)}</li>")))}</ul>"),
        JsonValueKind.String => Markup.Of($"<span class=\"iq-words\">{value.GetString()}</span>"),
        _ => Markup.Of($"<code>{value.GetRawText()}</code>"),
    };

    private static Markup Fact(string name, Markup value) => Markup.Of($"<dt>{name}</dt><dd>{value}</dd>");

    private static QueryString Query(string key, string value) => DashboardFormat.Query(("show", "ended"), (key, value));
}
