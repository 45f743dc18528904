using System.Net;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Startup;

/// <summary>Names that the app does not serve are refused; the built-in simulator is reached all the same.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class AllowedHostsTests
{
    [Test]
    public async Task AllowedHosts_LeaveTheSimulatorReachable()
    {
        await using var app = await TestApp.StartAsync(new() { ["AllowedHosts"] = "images.example" });
        var id = (long)(await app.SubmitAsync("bir gül", more: new { width = 64, height = 64, steps = 2 }))["id"]!;

        await app.WaitForAsync(id, MessageStatus.Complete);

        foreach (var (name, status) in new[] { ("images.example", HttpStatusCode.OK), ("other.example", HttpStatusCode.BadRequest) })
        {
            app.Http.DefaultRequestHeaders.Host = name;
            using var answer = await app.Http.GetAsync("health/live");
            Assert.That(answer.StatusCode, Is.EqualTo(status), name);
        }
    }
}
