using Hangfire;
using Hangfire.Storage.Monitoring;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>One image: the image, its facts, its timeline and its commands.</summary>
internal static class ImagePage
{
    public static async Task<Markup> ShowAsync(ImageDashboardRequest request, long id)
    {
        if (await FindAsync(request, id) is not { Message.IsImage: true } one)
            return Markup.Of($"<div class=\"alert alert-warning\">There is no image {id}. It may have been erased.</div>");
        return Markup.Of($"{await PartAsync(request, one)}{Metadata(one.Message)}");
    }

    /// <summary>The same part for Hangfire's page of the job.</summary>
    public static async Task<Markup> OfJobAsync(ImageDashboardRequest request, long messageId)
    {
        return await FindAsync(request, messageId) is { Message.IsImage: true } one
            ? await PartAsync(request, one)
            : Markup.Of($"<div class=\"iq-image\">Image {messageId} has been erased.</div>");
    }

    private static async Task<MessageChange?> FindAsync(ImageDashboardRequest request, long id) =>
        (await request.Get<IFeedStore>().ReadChangesAsync([id], request.Aborted)).SingleOrDefault();

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
            <p>{ImagesTable.StatusOf(message)} {ImagesTable.OutcomeOf(message)}</p>
            <p class="iq-words">{message.Prompt}</p>
            <dl class="dl-horizontal">
            {Markup.Fact("User", request.Link($"/images{Query("user", one.Username)}", one.Username))}
            {Markup.Fact("Conversation", request.Link($"/images{Query("q", message.ConversationId)}", message.ConversationId))}
            {Markup.Fact("Image", Markup.Of($"{request.Link($"/images/{message.Id}", message.Id)} <code>{message.JobId}</code>"))}
            {Markup.Fact("Hangfire job", message.HangfireJobId is { } job ? request.Link($"/jobs/details/{job}", job) : null)}
            {Markup.Fact("Position", position > 0 ? $"{position}, ETA {DashboardFormat.Duration(live.EtaOf(message))}" : null)}
            {Markup.Fact("Progress", message.Status == MessageStatus.Processing ? Progress(message.Progress) : null)}
            {Markup.Fact("Size", ImagesTable.SizeOf(message) is { Length: > 0 } size ? size : null)}
            {Markup.Fact("Starts from", await SourceAsync(request, message))}
            {Markup.Fact("Attempts", $"{message.Attempt}{(message.Failures > 0 ? $", {message.Failures} charged to the request" : "")}")}
            {Markup.Fact("Backend", message.Backend)}
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
        var delete = request.Button(
            "Delete", "/commands/images/erase", id,
            "Delete this image for good? Its text, image and metadata are erased, in the chat as well. This cannot be undone.", "danger");
        return Markup.Join([own, delete]);
    }

    /// <summary>What the image starts from; null when it starts from none.</summary>
    private static async Task<Markup?> SourceAsync(ImageDashboardRequest request, Message message)
    {
        if (ImageSource.Of(message) is not { } source)
            return null;
        var from = source.MessageId is { } id
            ? request.Link($"/images/{id}", $"image {id}")
            : await UploadAsync(source.UploadId, "an upload");
        if (source.Upscale is { } scale)
            return Markup.Of($"{from}, {scale} times as large");
        var mask = source.MaskUploadId is { } under ? Markup.Of($" under {await UploadAsync(under, "a mask")}") : Markup.None;
        return Markup.Of($"{from}{mask}, strength {source.Strength}");

        // It may be in another conversation than the message, and is removed some time after the image is complete.
        async Task<Markup> UploadAsync(string? uploadId, string what) =>
            uploadId is not null && await request.Get<IUploadStore>().FindUploadAsync(uploadId, request.Aborted) is { } upload
                ? Markup.Of(
                    $"<a href=\"~/api/conversations/{Uri.EscapeDataString(upload.ConversationId)}/uploads/{upload.Id}\">{what}</a>")
                : Markup.Of($"{what}, removed since");
    }

    private static Markup Image(Message message) => (message.ImageUrl ?? message.PreviewUrl) is { } url
        ? Markup.Of($"<a href=\"~{url}\"><img src=\"~{url}\" alt=\"The image\" loading=\"lazy\"></a>")
        : Markup.Of($"<div class=\"iq-nothing\">No image</div>");

    /// <summary>The row's request events; without any, the states that Hangfire keeps of the job.</summary>
    private static async Task<Markup> TimelineAsync(ImageDashboardRequest request, Message message, DateTimeOffset now)
    {
        var events = await request.Get<IOperatorStore>().ReadEventsAsync([message.Id], request.Aborted);
        var history = events.GetValueOrDefault(message.Id) ?? [];
        var steps = new List<Step>(history.Count > 0 ? history.Select(StepOf) : OfHangfire(request, message));
        if (history is not [{ What: RequestEventKinds.Submitted }, ..])
            steps.Add(new(message.CreatedAt, "Submitted", null, "waited"));
        steps.Sort((one, other) => one.At.CompareTo(other.At));
        if (history is [{ Attempt: > 1 } first, ..])
            steps.Insert(1, new(first.At, $"{first.Attempt - 1} earlier attempts are not kept", null, null));
        return Markup.Of(
            $"""
            <h2 class="h3 iq-timeline-title">Timeline</h2>
            <ol class="iq-timeline">{Markup.Join(steps.Index(), step => Row(step.Index, step.Item))}</ol>
            """);

        Markup Row(int i, Step step) => Markup.Of(
            $"""
            <li>{DashboardFormat.Time(step.At)} <strong>{step.What}</strong> <span class="iq-words">{step.Why}</span>
            {(step.By is null ? Markup.None : Markup.Of($"by {step.By}"))} <span class="text-muted">{Lasted(steps, i, now)}</span></li>
            """);
    }

    private static Step StepOf(RequestEvent step)
    {
        var (what, lasting) = step.What switch
        {
            RequestEventKinds.Submitted => ("Submitted", "waited"),
            RequestEventKinds.Prioritized => ("Moved to the front", null),
            RequestEventKinds.Claimed =>
                (step.Backend is { } backend ? $"Attempt {step.Attempt} on {backend}" : $"Attempt {step.Attempt}", "generated for"),
            RequestEventKinds.Requeued => ($"Attempt {step.Attempt} ended, back in the queue", "waited"),
            RequestEventKinds.Retried => ("Retried", "waited"),
            RequestEventKinds.Complete => ("Complete", null),
            RequestEventKinds.Error => ("Ended in error", null),
            RequestEventKinds.Cancelled => ("Cancelled", null),
            var other => (other, (string?)null),
        };
        return new(step.At, what, step.Why, lasting, step.By);
    }

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

    private sealed record Step(DateTimeOffset At, string What, string? Why, string? Lasting, string? By = null);

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
        JsonValueKind.Object => Markup.Of($"<ul>{Markup.Join(value.EnumerateObject(), Member)}</ul>"),
        JsonValueKind.Array => Markup.Of($"<ul>{Markup.Join(value.EnumerateArray(), item => Markup.Of($"<li>{Tree(item)}</li>"))}</ul>"),
        JsonValueKind.String => Markup.Of($"<span class=\"iq-words\">{value.GetString()}</span>"),
        _ => Markup.Of($"<code>{value.GetRawText()}</code>"),
    };

    private static Markup Member(JsonProperty member) => member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array
        ? Markup.Of($"<li><details open><summary>{member.Name}</summary>{Tree(member.Value)}</details></li>")
        : Markup.Of($"<li><b>{member.Name}</b>: {Tree(member.Value)}</li>");

    private static Markup Progress(int progress) =>
        Markup.Of($"<progress max=\"100\" value=\"{progress}\" aria-label=\"Progress\"></progress> {progress} %");

    private static QueryString Query(string key, string value) => DashboardFormat.Query(("show", "ended"), (key, value));
}
