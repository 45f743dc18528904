using System.Reflection;
using System.Runtime.Loader;
using ImageQueue.Tests.Support;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using NJsonSchema.CodeGeneration.CSharp;
using NSwag;
using NSwag.CodeGeneration.CSharp;
using NSwag.CodeGeneration.OperationNameGenerators;
using NUnit.Framework;

namespace ImageQueue.Tests.Api.Description;

/// <summary>What a chat app's developer does first: a client is generated from the description, compiled, and used.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class GeneratedClientTests
{
    /// <summary>As such a developer would write it, against the generated types alone.</summary>
    private const string Journey =
        """
        using System;
        using System.IO;
        using System.Linq;
        using System.Net.Http;
        using System.Net.ServerSentEvents;
        using System.Text.Json;
        using System.Threading;
        using System.Threading.Tasks;
        using Generated;

        public static class Journey
        {
            public static async Task<string> RunAsync(Uri address, CancellationToken cancellationToken)
            {
                using var http = new HttpClient { BaseAddress = address };
                var client = new ImageQueueClient(http);

                // Watch.
                using var stream = await client.WatchConversationAsync("generated", null, null, cancellationToken);
                var events = SseParser.Create(stream.Stream).EnumerateAsync(cancellationToken).GetAsyncEnumerator(cancellationToken);

                // Submit, and once more with the same key.
                var image = new ImageRequestBody { Username = "ayşe", Prompt = "bir kedi", Width = 256, Height = 256, Steps = 2 };
                var submitted = await client.SubmitImageAsync("generated", "key-1", null, image, cancellationToken);
                var again = await client.SubmitImageAsync("generated", "key-1", null, image, cancellationToken);
                Check(again.Id == submitted.Id, "a replay gives the same message");

                // Wait. NSwag makes no union: it reads each message as the first of the two.
                var message = await client.GetMessageAsync(submitted.Id, null, "wait=60", cancellationToken);
                var metadata = JsonSerializer.SerializeToElement(message.Extra_metadata).Deserialize<ImageMetadata>();
                Check(message.Kind == "image" && metadata.Error_code is null
                    && metadata.Status == ImageStatus.Complete && metadata.Progress == 100, "complete");
                using (var file = await client.GetImageAsync(metadata.Job_id, cancellationToken))
                    Check(file.Stream.ReadByte() == 0x89, "a PNG");

                ImageProgressEvent progress;
                do
                {
                    await events.MoveNextAsync();
                    Check(events.Current.EventType == "image_progress", events.Current.EventType);
                    progress = JsonSerializer.Deserialize<ImageProgressEvent>(events.Current.Data);
                }
                while (progress.Progress < 100);
                Check(progress.Message_id == submitted.Id && progress.Image_url == metadata.Image_url, "the same image was pushed");

                // Cancel, and retry.
                var slow = await client.SubmitImageAsync("generated", null, null, new ImageRequestBody { Username = "ayşe", Prompt =
                    "takılan [fault:stalled]", Steps = 150 }, cancellationToken);
                var cancelled = await client.CancelMessageAsync(slow.Id, cancellationToken);
                Check(cancelled.Extra_metadata.Status == ImageStatus.Cancelled, "cancelled");
                var retried = await client.RetryMessageAsync(slow.Id, cancellationToken);
                Check(retried.Extra_metadata.Status == ImageStatus.Queued && retried.Kind == ImageMessageKind.Image, "queued again");
                await client.CancelMessageAsync(slow.Id, cancellationToken);

                // The chat app's own words and keys, which no typed field gets in the way of.
                var words = await client.AddMessageAsync("generated", null, new NewMessageBody { Username = "ayşe", Role =
                    NewMessageBodyRole.User, Content = "merhaba", Extra_metadata = new { status = new[] { 1 } } }, cancellationToken);
                await client.PatchMessageAsync(words.Id, new MessagePatchBody { Extra_metadata = new { client = new { thread = 7 } } },
                    cancellationToken);
                var page = await client.ListMessagesAsync("generated", null, long.MaxValue, 10, cancellationToken);
                Check(page.Messages.Count == 3 && page.Messages.Last().Kind == "text", "three messages");
                Check((await client.ListConversationsAsync("ayşe", null, 10, cancellationToken)).Conversations.Single().Id == "generated",
                    "one conversation");
                Check((await client.GetQueueAsync(cancellationToken)).Backends.Count == 1, "one backend");

                // Delete: not found any more, and pushed to watchers.
                await client.DeleteMessageAsync(slow.Id, cancellationToken);
                do
                    await events.MoveNextAsync();
                while (events.Current.EventType != "image_progress" ||
                    JsonSerializer.Deserialize<ImageProgressEvent>(events.Current.Data).Status != ImageProgressEventStatus.Deleted);
                Check((await client.ListMessagesAsync("generated", null, long.MaxValue, 10, cancellationToken)).Messages.Count == 2,
                    "two messages are left");

                // What is refused says why, for programs.
                try
                {
                    await client.CancelMessageAsync(submitted.Id, cancellationToken);
                }
                catch (ApiException<Problem> e)
                {
                    return $"{e.StatusCode} {e.Result.Code}";
                }

                return "not refused";
            }

            private static void Check(bool condition, string what)
            {
                if (!condition)
                    throw new InvalidOperationException(what);
            }
        }
        """;

    [Test]
    public async Task GeneratedClient_SubmitsWaitsWatchesCancelsRetriesAndDeletes()
    {
        await using var app = await TestApp.StartAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        var generated = await GenerateAsync(await app.Http.GetStringAsync("openapi/v1.json"));

        var run = Compile(generated, Journey).GetType("Journey")!.GetMethod("RunAsync")!; // Both are above.
        var refused = await (Task<string>)run.Invoke(null, [app.Address, patience.Token])!;

        Assert.That(refused, Is.EqualTo("409 Not_cancellable"));
    }

    private static async Task<string> GenerateAsync(string description)
    {
        var settings = new CSharpClientGeneratorSettings
        {
            ClassName = "ImageQueueClient",
            UseBaseUrl = false,
            OperationNameGenerator = new SingleClientFromOperationIdOperationNameGenerator(),
            CSharpGeneratorSettings = { Namespace = "Generated", JsonLibrary = CSharpJsonLibrary.SystemTextJson, JsonLibraryVersion = 9 },
        };
        return new CSharpClientGenerator(await OpenApiDocument.FromJsonAsync(description), settings).GenerateFile();
    }

    private static Assembly Compile(params string[] sources)
    {
        // The runtime always sets it.
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator)
            .Select(path => MetadataReference.CreateFromFile(path));
        var compilation = CSharpCompilation.Create(
            "GeneratedClient", sources.Select(
                source =>
                    CSharpSyntaxTree.ParseText(source)), references, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary));
        using var assembly = new MemoryStream();
        var result = compilation.Emit(assembly);
        Assert.That(
            result.Diagnostics.Where(
                diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).Select(diagnostic => diagnostic.ToString()), Is.Empty);
        assembly.Position = 0;
        return new AssemblyLoadContext("GeneratedClient", isCollectible: true).LoadFromStream(assembly);
    }
}
