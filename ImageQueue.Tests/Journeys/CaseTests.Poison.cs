using System.Text.Json.Nodes;
using ImageQueue.Tests.Simulator;
using Microsoft.AspNetCore.Http;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>No request stops the others: each ordinary way in which one can break off whatever backend it is sent to.</summary>
internal sealed partial class CaseTests
{
    private static async Task PoisonAsync(JsonNode input)
    {
        await PoisonAsync(input, backends: 1);
        await PoisonAsync(input, backends: 2);
    }

    private static async Task PoisonAsync(JsonNode input, int backends)
    {
        var (poison, code, sent) = ((string)input["poison"]!, (string)input["error_code"]!, 0);
        var servers = new List<SimulatorServer>();
        for (var i = 0; i < backends; i++)
        {
            var server = await SimulatorServer.StartAsync(millisecondsPerImage: 100);
            server.Proxy = ProxyOf(server);
            servers.Add(server);
        }

        try
        {
            await using var app = await PoisonJourneyTests.StartAsync(servers);
            var bad = (long)(await app.SubmitAsync(poison, more: PoisonJourneyTests.Small))["id"]!;
            var ids = await PoisonJourneyTests.SubmitAsync(app, 6);

            await PoisonJourneyTests.CompleteAsync(app, ids);
            var end = await app.WaitForAsync(bad, MessageStatus.Error, MessageStatus.Complete);

            Assert.That((string?)end["extra_metadata"]!["error_code"], Is.EqualTo(code), end.ToJsonString());
            Assert.That(sent, Is.InRange(2, 3), "times that it was sent");
            if (code != ErrorCodes.TimedOut) // Forge calls an interrupted task completed a moment before it has answered.
                Assert.That(servers.Select(server => server.Stats.MostInFlight), Is.All.LessThanOrEqualTo(1));
            Assert.That($"{app.Log}", Does.Not.Contain("user and password"));
        }
        finally
        {
            foreach (var server in servers)
                await server.DisposeAsync();
        }

        Func<HttpContext, string?, Func<Task>, Task> ProxyOf(SimulatorServer server)
        {
            var (given, downUntil) = (input["answer"]!, 0L);
            return async (context, prompt, answer) =>
            {
                var isPoison = prompt == poison && !context.Request.Headers.ContainsKey("x-behind");
                var now = TimeProvider.System.GetTimestamp();
                if (isPoison)
                    Interlocked.Increment(ref sent);
                if (isPoison && (double?)given["down_for_seconds"] is { } seconds)
                    downUntil = now + (long)(seconds * TimeProvider.System.TimestampFrequency); // A supervisor restarts it.
                if (now < downUntil)
                {
                    context.Abort();
                    return;
                }

                if (!isPoison)
                {
                    await answer();
                    return;
                }

                if ((bool?)given["goes_on"] == true)
                    await GoOnAsync(server, context);
                context.Response.Headers.Server = (string?)given["server"];
                await WriteAsync(context, (int)given["status"]!, (string)given["type"]!, (string)given["body"]!);
            };
        }
    }

    /// <summary>What a proxy gives up on goes on behind it.</summary>
    private static async Task GoOnAsync(SimulatorServer server, HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        using var behind = new HttpRequestMessage(HttpMethod.Post, "sdapi/v1/txt2img")
        {
            Content = new StringContent(await reader.ReadToEndAsync(), Encoding.UTF8, "application/json"),
        };
        behind.Headers.Add("x-behind", "1");
        _ = server.Client.SendAsync(behind);
        await Task.Delay(300); // The proxy's patience.
    }
}
