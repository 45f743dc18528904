using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The names of jobs on Hangfire's pages, beside text that looks like their marks.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class JobNameTests
{
    [TestCase("\uE0A012345678901234567890\uE0A1")]
    [TestCase("look \uE0A01\uE0A1")]
    public async Task Pages_ShowTheirOwnText_WhenAPromptLooksLikeAMark(string prompt)
    {
        await using var app = await TestApp.StartAsync();
        await app.WaitForAsync((long)(await app.SubmitAsync("a secret image"))["id"]!, MessageStatus.Complete);
        var id = (long)(await app.SubmitAsync(prompt, username: prompt, conversation: "other"))["id"]!;
        await app.WaitForAsync(id, MessageStatus.Complete);
        var job = (await app.Services.GetRequiredService<IMessageStore>().FindAsync(id, CancellationToken.None))!.HangfireJobId;

        foreach (var path in new[] { $"hangfire/images/{id}", $"hangfire/jobs/details/{job}" })
        {
            using var page = await app.Http.GetAsync(path);
            Assert.That((int)page.StatusCode, Is.EqualTo(200), path);
            Assert.That(await page.Content.ReadAsStringAsync(), Does.Not.Contain("a secret image"), path);
        }
    }
}
