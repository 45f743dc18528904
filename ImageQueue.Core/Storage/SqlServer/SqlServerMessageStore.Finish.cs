using ImageQueue.Core.Messages;
using ImageQueue.Core.Statistics;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result, CancellationToken cancellationToken) =>
        TransitionAsync(
            id, Note(RequestEventKinds.Complete), MessagePatches.Complete(imageUrl, thumbnailUrl, result), content, IsMine, Why(null).Add("@Attempt", attempt), cancellationToken,
            moment: SampleNote.Complete(result));

    public Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            id, Note(RequestEventKinds.Error), MessagePatches.Fail(failure), content, IsMine, Why(failure.ToEvent()).Add("@Attempt", attempt), cancellationToken,
            moment: SampleNote.Error(failure));

    public Task<Transition> FailQueuedAsync(long id, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            id, Note(RequestEventKinds.Error), MessagePatches.Fail(failure), content, IsQueued, Why(failure.ToEvent()), cancellationToken,
            moment: SampleNote.Error(failure));

    public Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken) =>
        TransitionAsync(id, Note(RequestEventKinds.Cancelled), MessagePatches.Cancel, content, IsUnfinished, Why(null), cancellationToken, moment: SampleNote.Cancelled);

    public Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken) =>
        TransitionAsync(
            "hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL",
            Note(RequestEventKinds.Cancelled),
            MessagePatches.Cancel,
            content,
            IsUnfinished,
            Why(null).AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize),
            cancellationToken,
            moment: SampleNote.Cancelled);

    private const string IsUnfinished = "queued_at IS NOT NULL AND status IN (N'queued', N'processing')";

    public async Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken)
    {
        var transition = await TransitionAsync(id, "", patch, content, StaysSmall(patch), new StatementParameters(), cancellationToken);
        if (transition is { Applied: false, Message: not null })
            throw new DocumentTooLargeException();
        return transition.Message ?? throw new MessageNotFoundException(id);
    }
}
