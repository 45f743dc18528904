using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Messages;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>
/// What <see cref="IMessageStore"/> promises, whichever database keeps the rows. One partial per facet: submit, transitions,
/// merge, read.
/// </summary>
public abstract partial class MessageStoreContract(bool isOnSqlServer) : StoreContract(isOnSqlServer)
{
    private protected const string PlainMessage = "plain";

    private protected const string Owner = "ayşe";

    private protected const string Conversation = "sohbet-1";

    private protected const string HangfireJob = "hf-1";

    private OpenStore _open = null!;
    private int _submitted;

    private protected IMessageStore Store => _open.Store;

    private protected FakeTimeProvider Time { get; private set; } = null!;

    private protected AsyncSignal Signal { get; private set; } = null!;

    /// <summary>Each test finds no row, at the same time of day.</summary>
    [SetUp]
    public async Task EmptyAsync()
    {
        await Database.EmptyAsync();
        Time = new FakeTimeProvider(new DateTimeOffset(2026, 11, 1, 12, 0, 0, 250, TimeSpan.Zero));
        Signal = new AsyncSignal();
        _submitted = 0;
        _open = Database.Open(Time, Signal);
    }

    /// <summary>Ends the test's store.</summary>
    [TearDown]
    public async Task CloseAsync() => await _open.DisposeAsync();

    /// <summary>The row as another process reads it.</summary>
    private protected async Task<Message?> ReadAsync(long id)
    {
        await using var other = Database.Open(Time, new AsyncSignal());
        return await other.Store.FindAsync(id, CancellationToken.None);
    }

    private protected NewImageMessage ImageRequest(
        string prompt =
            "kırmızı bir gül 🌹", string conversation =
                Conversation, string username = Owner, string? key = null, int position = 3, JsonObject? settings = null) => new(
            conversation,
            username,
            JobId: (++_submitted).ToString("x32", CultureInfo.InvariantCulture),
            prompt,
            settings ?? new JsonObject { ["width"] = 1024, ["height"] = 768, ["steps"] = 20, ["cfg_scale"] = 3.5m, ["seed"] = 4294967295 },
            position,
            key);

    private protected async Task<Message> SubmitAsync(NewImageMessage? request = null) =>
        (await Store.SubmitAsync(request ?? ImageRequest(), UserLimits.None, CancellationToken.None)).Message;

    private protected async Task<Message> AddAsync(
        string? metadata = null, string conversation = Conversation, string username = Owner, string content = "Merhaba") =>
        await Store.AddAsync(
            new NewMessage(
                conversation,
                username,
                MessageRole.User,
                content,
                metadata is null ? null : MetadataPatch.Parse(metadata)), CancellationToken.None);

    /// <summary>A message in the state, of attempt 1 and <see cref="HangfireJob"/> where that applies.</summary>
    private protected async Task<Message> InStateAsync(string state)
    {
        if (state == PlainMessage)
            return await AddAsync("""{"status":"queued","progress":1,"queue_position":1}""");
        var message = await SubmitAsync();
        message = Applied(await Store.AttachJobAsync(message.Id, HangfireJob, null, CancellationToken.None));
        if (state == MessageStatus.Queued)
            return message;
        message = Applied(await Store.ClaimAsync(message.Id, HangfireJob, null, null, CancellationToken.None));
        return state switch
        {
            MessageStatus.Processing => message,
            MessageStatus.Complete => Applied(await CompleteAsync(message)),
            MessageStatus.Error =>
                Applied(await Store.FailAsync(
                    message.Id, message.Attempt, "❌ Görsel oluşturulamadı: x",
                    new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None)),
            MessageStatus.Cancelled => Applied(await Store.CancelAsync(message.Id, "İptal edildi.", CancellationToken.None)),
            _ => throw new ArgumentOutOfRangeException(nameof(state), state, null),
        };
    }

    /// <summary>The row of a worker that has not been heard of for a minute.</summary>
    private protected async Task<Message> SilentAsync(Message message)
    {
        await Database.AgeAsync(message.Id, TimeSpan.FromMinutes(1));
        return (await ReadAsync(message.Id))!; // It was there.
    }

    private protected Task<Transition> CompleteAsync(Message message, TimeSpan? duration = null) => Store.CompleteAsync(
        message.Id,
        message.Attempt,
        "[IMAGE] Resminiz hazır.",
        "/images/flux_1.png",
        "/images/flux_1.thumb.webp",
        new ImageResult(4294967295, 1024, 768, "flux1-dev", duration ?? TimeSpan.FromMilliseconds(12_345)),
        CancellationToken.None);

    private protected static Message Applied(Transition transition)
    {
        Assert.That(transition.Applied, Is.True, "the transition was refused");
        return transition.Message!;
    }

    /// <summary>Every field is the same; metadata is compared by value, since stores may write the same document differently.</summary>
    private protected void AssertSame(Message? actual, Message expected)
    {
        Assert.That(actual, Is.Not.Null);
        Assert.That(Fields(actual!), Is.EqualTo(Fields(expected)));
        Assert.That(JsonStructure.Difference(expected.ExtraMetadata, actual!.ExtraMetadata), Is.Null);
    }

    private string Fields(Message m) => string.Join('\n', new object?[]
    {
        m.Id, m.ConversationId, m.Role, m.Content, m.HangfireJobId ?? "NULL", m.IdempotencyKey ?? "NULL", m.RequestHash
            ?? "NULL", m.Attempt, m.Failures, m.Backend
            ?? "NULL", m.Revision,
        Text(m.CreatedAt), Text(m.UpdatedAt), Clocked(m.HeartbeatAt), Clocked(m.QueuedAt), Clocked(m.FinishedAt), Clocked(m.DeletedAt),
    });

    /// <summary>By a clock that no test can set, they are only there or not.</summary>
    private string Clocked(DateTimeOffset? time) => time is not null && Database.HasOwnClock ? "by the server's clock" : Text(time);

    private static string Text(DateTimeOffset? time) => time?.ToString("O", CultureInfo.InvariantCulture) ?? "NULL";
}
