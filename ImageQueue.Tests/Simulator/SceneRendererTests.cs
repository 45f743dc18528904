using System.Diagnostics;
using ImageQueue.Web.Simulator;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Simulator;

[Category(Categories.Fast)]
public sealed class SceneRendererTests
{
    [TestCase(1024, 1024)]
    [TestCase(64, 64)]
    [TestCase(2048, 64)]
    [TestCase(64, 2048)]
    [TestCase(832, 1216)]
    public void Generate_DecodesAtTheAskedSize_WhateverTheShape(int width, int height)
    {
        var png = SceneRenderer.Draw("bir kedi, yağlı boya", 7, width, height);

        using var image = SKBitmap.Decode(png);
        Assert.Multiple(() =>
        {
            Assert.That(png.AsSpan(0, 4).ToArray(), Is.EqualTo(new byte[] { 0x89, 0x50, 0x4E, 0x47 }));
            Assert.That((image.Width, image.Height), Is.EqualTo((width, height)));
        });
    }

    [Test]
    [Explicit("Measures; prints milliseconds for 1024x1024, and leaves images to look at in the directory that IMAGES names.")]
    public void Generate_TakesMilliseconds()
    {
        SceneRenderer.Draw("warm up", 1, 1024, 1024);
        var times = new List<double>();
        for (var seed = 0; seed < 24; seed++)
        {
            var start = Stopwatch.GetTimestamp();
            var png = SceneRenderer.Draw($"Işıklı bir İstanbul akşamı, çiçekler ve ğüzel şeyler ₺ — yağlı boya, {seed}", seed, 1024, 1024);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            if (Environment.GetEnvironmentVariable("IMAGES") is { Length: > 0 } directory)
            {
                File.WriteAllBytes(Path.Combine(directory, $"{seed}.png"), png);
                File.WriteAllBytes(Path.Combine(directory, $"half{seed}.png"), SceneRenderer.Draw("half done", seed, 512, 512, seed / 24d));
                var source = SimulatedSource.Read(
                    SimulatorRequest.Read(
                        SimulatorJson.Bytes(new { init_images = (string[])[Convert.ToBase64String(png)] }), SimulatorCall.ImageToImage)
                        .Request!, // It is one.
                    SimulatorProfile.Forge).Source!;
                File.WriteAllBytes(
                    Path.Combine(directory, $"varied{seed}.png"),
                    SceneRenderer.Draw(
                        "varied", 7, 1024, 1024, start: new SceneStart(source, seed / 24d, Blur: 4, KeepsContent: true)));
                File.WriteAllBytes(
                    Path.Combine(directory, $"preview{seed}.jpg"), SceneRenderer.Preview("half done", seed, 1024, 1024, seed / 24d));
            }
        }

        times.Sort();
        TestContext.Out.WriteLine(
            FormattableString.Invariant($"generate and encode 1024x1024: median {times[times.Count / 2]:F1} ms, worst {times[^1]:F1} ms"));
    }
}
