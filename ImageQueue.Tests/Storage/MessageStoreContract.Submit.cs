using System.Text.Json.Nodes;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

public abstract partial class MessageStoreContract
{
    /// <summary>The answer to the chat app, and the row after a restart.</summary>
    [Test]
    public async Task Queued_IsPersisted_WhenSubmitted()
    {
        var request = ImageRequest(key: "anahtar-1");

        var submitted = await Store.SubmitAsync(request, new UserLimits(20), CancellationToken.None);

        Assert.That(submitted.IsReplay, Is.False);
        var expected = submitted.Message with
        {
            ConversationId = Conversation,
            Role = MessageRole.Bot,
            Content = "[IMAGE_PENDING]",
            ExtraMetadata = $$$"""
                {"status":"queued","progress":0,"queue_position":3,"job_id":"{{{request.JobId}}}","prompt":"kırmızı bir gül 🌹",
                 "settings":{"width":1024,"height":768,"steps":20,"cfg_scale":3.5,"seed":4294967295}}
                """,
            CreatedAt = Time.GetUtcNow(),
            UpdatedAt = Time.GetUtcNow(),
            QueuedAt = Time.GetUtcNow(),
            HeartbeatAt = null,
            HangfireJobId = null,
            IdempotencyKey = "anahtar-1",
            Attempt = 0,
        };
        AssertSame(submitted.Message, expected);
        AssertSame(await ReadAsync(submitted.Message.Id), expected);
        Assert.That(submitted.Message.Id, Is.Positive);
        Assert.That(submitted.Message.Revision, Is.Positive);
    }

    /// <summary>What is there when the process dies while generating.</summary>
    [Test]
    public async Task Processing_IsPersisted_WhenClaimed()
    {
        var claimed = await InStateAsync(MessageStatus.Processing);

        var stored = (await ReadAsync(claimed.Id))!;

        Assert.That(
            (stored.Status, stored.Progress, stored.QueuePosition, stored.Attempt, stored.HangfireJobId),
            Is.EqualTo((MessageStatus.Processing, 0, 0, 1, HangfireJob)));
        Assert.That(Clocked(stored.HeartbeatAt), Is.EqualTo(Clocked(Time.GetUtcNow())));
    }

    /// <summary>What is there ever after.</summary>
    [Test]
    public async Task Complete_IsPersisted_WhenFinished()
    {
        var finished = await InStateAsync(MessageStatus.Complete);

        var stored = (await ReadAsync(finished.Id))!;

        Assert.That(
            (stored.Status, stored.Progress, stored.QueuePosition, stored.ImageUrl),
            Is.EqualTo((MessageStatus.Complete, 100, 0, "/images/flux_1.png")));
        Assert.That(stored.Prompt, Is.EqualTo("kırmızı bir gül 🌹"));
    }

    /// <summary>The clock's ticks are finer than the tables.</summary>
    [Test]
    public async Task Times_AreCutToMilliseconds_OnTheWayIn()
    {
        Time.Advance(TimeSpan.FromTicks(9_999));

        var message = await SubmitAsync();

        Assert.That(message.CreatedAt, Is.EqualTo(new DateTimeOffset(2026, 11, 1, 12, 0, 0, 250, TimeSpan.Zero)));
        AssertSame(await ReadAsync(message.Id), message);
    }

    /// <summary>A message without metadata has none, not the text "null".</summary>
    [TestCase(null, "{}")]
    [TestCase("{}", "{}")]
    [TestCase("""{"a":{"b":[1,null]},"c":"ş"}""", """{"a":{"b":[1,null]},"c":"ş"}""")]
    public async Task Add_StoresAPlainMessage_AsItIs(string? metadata, string expectedMetadata)
    {
        var signal = Signal.Next;

        var added = await AddAsync(metadata, content: "Merhaba \"dünya\" 🌍");

        Assert.That(signal.IsCompleted, Is.True);
        var expected = added with
        {
            ConversationId = Conversation,
            Role = MessageRole.User,
            Content = "Merhaba \"dünya\" 🌍",
            ExtraMetadata = expectedMetadata,
            CreatedAt = Time.GetUtcNow(),
            UpdatedAt = Time.GetUtcNow(),
            QueuedAt = null,
            HeartbeatAt = null,
            HangfireJobId = null,
            IdempotencyKey = null,
            Attempt = 0,
        };
        AssertSame(added, expected);
        AssertSame(await ReadAsync(added.Id), expected);
        Assert.That((added.IsImage, added.Status, added.JobId), Is.EqualTo((false, (string?)null, (string?)null)));
    }

    /// <summary>A null at the top removes a key that is not there; what is inside arrays stays.</summary>
    [Test]
    public async Task Add_AppliesTheMetadata_AsAMergeIntoNothing()
    {
        var added = await AddAsync("""{"a":null,"b":{"c":null,"d":1},"e":[null]}""");

        AssertMetadata("""{"b":{"d":1},"e":[null]}""", added);
    }

    /// <summary>The first message makes the conversation, whichever kind it is.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public async Task Conversation_IsMade_WithItsFirstMessage(bool image)
    {
        var before = await Store.FindConversationAsync(Conversation, CancellationToken.None);
        if (image)
            await SubmitAsync(ImageRequest(prompt: "deniz kenarı"));
        else
            await AddAsync(content: "deniz kenarı");
        Time.Advance(TimeSpan.FromMinutes(1));
        await AddAsync(content: "başka");

        Assert.That(before, Is.Null);
        Assert.That(
            await Store.FindConversationAsync(Conversation, CancellationToken.None),
            Is.EqualTo(new Conversation(Conversation, Owner, "deniz kenarı", Time.GetUtcNow() - TimeSpan.FromMinutes(1))));
    }

    /// <summary>A conversation is its first user's; letters are compared exactly, in any language.</summary>
    [TestCase("ayse")]
    [TestCase("AYŞE")]
    [TestCase("Ayşe")]
    public async Task Conversation_IsRefused_ToAnotherUsername(string username)
    {
        await AddAsync();

        Assert.That(() => AddAsync(username: username), Throws.TypeOf<ConversationForbiddenException>());
        Assert.That(() => SubmitAsync(ImageRequest(username: username)), Throws.TypeOf<ConversationForbiddenException>());
        Assert.That(await ListAsync(), Has.Count.EqualTo(1));
    }

    /// <summary>Ids are names of the chat app's, not words.</summary>
    [Test]
    public async Task Conversations_AreDifferent_WhenTheirIdsDifferInCase()
    {
        await AddAsync(conversation: "IMAGE", username: "ali");
        await AddAsync(conversation: "image", username: "veli");
        await AddAsync(conversation: "ımage", username: "kırk");
        await AddAsync(conversation: "İMAGE", username: "elli");

        Assert.That((await Store.FindConversationAsync("image", CancellationToken.None))!.Username, Is.EqualTo("veli"));
        Assert.That(await ListAsync("IMAGE"), Has.Count.EqualTo(1));
    }

    /// <summary>Many first messages at once make one conversation.</summary>
    [Test]
    public async Task Conversation_IsMadeOnce_WhenManyBeginItAtOnce()
    {
        await Task.WhenAll(
            Enumerable.Range(0, 16).Select(i => Task.Run(() => i % 2 == 0 ? AddAsync() : SubmitAsync(ImageRequest(prompt: $"p{i}")))));

        Assert.That(await ListAsync(), Has.Count.EqualTo(16));
    }

    /// <summary>Two users begin the same conversation at once: one gets it.</summary>
    [Test]
    public async Task Conversation_HasOneOwner_WhenTwoUsersBeginItAtOnce()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(async () =>
        {
            try
            {
                await AddAsync(username: i % 2 == 0 ? "ali" : "veli");
                return (i % 2, true);
            }
            catch (ConversationForbiddenException)
            {
                return (i % 2, false);
            }
        })));

        Assert.That(results.Count(result => result.Item2), Is.EqualTo(8));
        Assert.That(results.Where(result => result.Item2).Select(result => result.Item1).Distinct().Count(), Is.EqualTo(1));
    }

    /// <summary>A client that did not hear the answer asks again.</summary>
    [Test]
    public async Task Submit_GivesTheEarlierMessage_WhenTheKeyComesAgain()
    {
        var first = await Store.SubmitAsync(ImageRequest(key: "k"), new UserLimits(20), CancellationToken.None);
        var current = Applied(await Store.ClaimAsync(first.Message.Id, HangfireJob, null, null, CancellationToken.None));
        var signal = Signal.Next;

        var again = await Store.SubmitAsync(ImageRequest(key: "k", position: 99), new UserLimits(20), CancellationToken.None);

        Assert.That(again.IsReplay, Is.True);
        AssertSame(again.Message, current);
        Assert.That(signal.IsCompleted, Is.False);
        Assert.That(await ListAsync(), Has.Count.EqualTo(1));
    }

    /// <summary>Also when both come at once, at whichever process.</summary>
    [Test]
    public async Task Submit_AddsOneMessage_WhenTheSameKeyComesAtOnce()
    {
        var requests = Enumerable.Range(0, 16).Select(_ => ImageRequest(key: "k")).ToList();
        await using var other = Database.Open(Time, Signal);

        var submitted = await Task.WhenAll(requests.Select((request, i) => Task.Run(() =>
            (i % 2 == 0 ? Store : other.Store).SubmitAsync(request, new UserLimits(20), CancellationToken.None))));

        Assert.That(submitted.Count(one => !one.IsReplay), Is.EqualTo(1));
        Assert.That(submitted.Select(one => one.Message.Id).Distinct().Count(), Is.EqualTo(1));
        Assert.That(submitted.Select(one => one.Message.JobId).Distinct().Count(), Is.EqualTo(1));
    }

    /// <summary>A key is one request's; a mistake of the client's must not pass for a repetition.</summary>
    [TestCase("another prompt", null)]
    [TestCase(null, 512)]
    public async Task Submit_Throws_WhenTheKeyComesWithAnotherRequest(string? prompt, int? width)
    {
        await SubmitAsync(ImageRequest(key: "k"));
        var request = ImageRequest(key: "k");
        if (width is not null)
            request = request with { Settings = new JsonObject { ["width"] = width } };

        Assert.That(() => SubmitAsync(request with { Prompt = prompt ?? request.Prompt }), Throws.TypeOf<IdempotencyKeyReusedException>());
        Assert.That(await ListAsync(), Has.Count.EqualTo(1));
    }

    /// <summary>Settings are the same when their values are, in whatever order they are written.</summary>
    [Test]
    public async Task Submit_GivesTheEarlierMessage_WhenSettingsAreWrittenDifferently()
    {
        await SubmitAsync(ImageRequest(key: "k", settings: new JsonObject { ["width"] = 64, ["cfg_scale"] = 3.50m }));

        var again = await Store.SubmitAsync(
            ImageRequest(key: "k", settings: new JsonObject { ["cfg_scale"] = 3.5m, ["width"] = 64 }),
            new UserLimits(20),
            CancellationToken.None);

        Assert.That(again.IsReplay, Is.True);
    }

    /// <summary>A key belongs to its conversation.</summary>
    [Test]
    public async Task Submit_AddsAnother_WhenTheKeyComesInAnotherConversation()
    {
        await SubmitAsync(ImageRequest(key: "k"));

        Assert.That(
            (await Store.SubmitAsync(ImageRequest(key: "k", conversation: "c2"), new UserLimits(20), CancellationToken.None)).IsReplay,
            Is.False);
        Assert.That((await Store.SubmitAsync(ImageRequest(key: "K"), new UserLimits(20), CancellationToken.None)).IsReplay, Is.False);
    }

    /// <summary>Only what waits counts, over all conversations of the user.</summary>
    [Test]
    public async Task Submit_Throws_WhenTheUserHasTooManyWaiting()
    {
        await SubmitAsync(ImageRequest(conversation: "c1"));
        var second = await SubmitAsync(ImageRequest(conversation: "c2"));
        await SubmitAsync(ImageRequest(conversation: "c3", username: "başka"));

        Assert.That(
            () => Store.SubmitAsync(ImageRequest(conversation: "c-new"), new UserLimits(2), CancellationToken.None),
            Throws.TypeOf<TooManyPendingException>().With.Message.Contains("2 images waiting"));
        Assert.That(await Store.FindConversationAsync("c-new", CancellationToken.None), Is.Null, "nothing of a refused request is kept");

        Applied(await Store.ClaimAsync(second.Id, HangfireJob, null, null, CancellationToken.None));
        Assert.That(
            (await Store.SubmitAsync(ImageRequest(conversation: "c-new"), new UserLimits(2), CancellationToken.None)).IsReplay, Is.False);
    }

    /// <summary>A repetition takes no new place.</summary>
    [Test]
    public async Task Submit_GivesTheEarlierMessage_WhenTheUserHasTooManyWaiting()
    {
        await SubmitAsync(ImageRequest(key: "k"));

        Assert.That((await Store.SubmitAsync(ImageRequest(key: "k"), new UserLimits(1), CancellationToken.None)).IsReplay, Is.True);
    }

    /// <summary>The limit holds when the user's requests come together.</summary>
    [Test]
    public async Task Submit_KeepsTheLimit_WhenManyComeAtOnce()
    {
        var requests = Enumerable.Range(0, 16).Select(i => ImageRequest(conversation: $"c{i % 4}", prompt: $"p{i}")).ToList();
        await using var other = Database.Open(Time, Signal);

        var taken = await Task.WhenAll(requests.Select((request, i) => Task.Run(async () =>
        {
            try
            {
                await (i % 2 == 0 ? Store : other.Store).SubmitAsync(request, new UserLimits(5), CancellationToken.None);
                return true;
            }
            catch (TooManyPendingException)
            {
                return false;
            }
        })));

        Assert.That(taken.Count(one => one), Is.EqualTo(5));
    }
}
