using System.Collections.Concurrent;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Generation;

[TestFixture]
[Category(Categories.Store)]
public sealed class ImageFilesTests
{
    private const string JobId = "0123456789abcdef0123456789abcdef";

    private string _directory = "";
    private ImageFiles _files = null!;

    [SetUp]
    public void MakeFolder()
    {
        _directory = Path.Combine(Path.GetTempPath(), $"imagequeue-{Guid.NewGuid():N}", "images");
        _files = FilesOfFolder();
    }

    [TearDown]
    public void RemoveFolder()
    {
        var parent = Path.GetDirectoryName(_directory)!;
        if (Directory.Exists(parent))
            Directory.Delete(parent, recursive: true);
    }

    [Test]
    public void Prepare_KeepsEveryByte_WhenPng()
    {
        var png = Image(SKEncodedImageFormat.Png, 64, 96);

        using var prepared = _files.Prepare(JobId, 1, png);
        prepared.Publish();

        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllBytes(_files.FindPath(JobId)!), Is.EqualTo(png));
            Assert.That(_files.FindPath(JobId), Is.EqualTo(Path.Combine(_directory, $"flux_{JobId}.png")));
            Assert.That((prepared.Width, prepared.Height), Is.EqualTo((64, 96)));
        });
    }

    [TestCase(2048, 1024, 512, 256)]
    [TestCase(100, 2000, 25, 512)]
    [TestCase(64, 96, 64, 96)]
    public void Prepare_MakesAThumbnail_NoLongerThan512(int width, int height, int thumbnailWidth, int thumbnailHeight)
    {
        using var prepared = _files.Prepare(JobId, 1, Image(SKEncodedImageFormat.Png, width, height));
        Assert.That(_files.FindThumbnailPath(JobId), Is.Null, "it is not visible before the image");
        prepared.Publish();

        using var codec = SKCodec.Create(_files.FindThumbnailPath(JobId)!);
        using var bitmap = SKBitmap.Decode(_files.FindThumbnailPath(JobId)!);
        Assert.Multiple(() =>
        {
            Assert.That(_files.FindThumbnailPath(JobId), Is.EqualTo(Path.Combine(_directory, $"flux_{JobId}.thumb.webp")));
            Assert.That(codec.EncodedFormat, Is.EqualTo(SKEncodedImageFormat.Webp));
            Assert.That((codec.Info.Width, codec.Info.Height), Is.EqualTo((thumbnailWidth, thumbnailHeight)));
            Assert.That(bitmap.GetPixel(2, 2).Red, Is.EqualTo(200).Within(12));
        });
    }

    /// <summary>A crash between the row and the renames: a reader finds both.</summary>
    [Test]
    public void TryPublish_GivesBothTheirNames_WhenTheProcessDiedBeforeTheRename()
    {
        _files.Prepare(JobId, 3, Image(SKEncodedImageFormat.Png, 64, 64)).Keep();
        var found = _files.ListTemporaries();

        Assert.That(found.Select(file => (file.JobId, file.Attempt)), Is.EqualTo(new (string, int?)[] { (JobId, 3), (JobId, 3) }));
        Assert.That(_files.TryPublish(JobId, 3), Is.Not.Null);
        Assert.That(_files.FindThumbnailPath(JobId), Is.Not.Null);
        Assert.That(_files.ListTemporaries(), Is.Empty);
        Assert.That(_files.RemoveTemporaries(found), Is.Zero);
    }

    [TestCase(SKEncodedImageFormat.Jpeg)]
    [TestCase(SKEncodedImageFormat.Webp)]
    public void Prepare_ConvertsToPng_WhenOtherFormat(SKEncodedImageFormat format)
    {
        using var prepared = _files.Prepare(JobId, 1, Image(format, 48, 40));
        prepared.Publish();

        using var codec = SKCodec.Create(_files.FindPath(JobId)!);
        using var bitmap = SKBitmap.Decode(_files.FindPath(JobId)!);
        Assert.Multiple(() =>
        {
            Assert.That(codec.EncodedFormat, Is.EqualTo(SKEncodedImageFormat.Png));
            Assert.That((codec.Info.Width, codec.Info.Height), Is.EqualTo((48, 40)));
            Assert.That(bitmap.GetPixel(2, 2).Red, Is.EqualTo(200).Within(12));
        });
    }

    [Test]
    public void Prepare_AcceptsAllKinds_WhenPngIsGreyOrTransparent()
    {
        using var alpha = new SKBitmap(new SKImageInfo(9, 7, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        using var grey = new SKBitmap(new SKImageInfo(300, 200, SKColorType.Gray8));
        foreach (var bitmap in (SKBitmap[])[alpha, grey])
        {
            bitmap.Erase(SKColors.Gray.WithAlpha(128)); // Without any colour it would be taken for a failure.
            using var data = bitmap.Encode(SKEncodedImageFormat.Png, 100);
            using var prepared = _files.Prepare(JobId, 1, data.ToArray());
            Assert.That(prepared.Width, Is.EqualTo(bitmap.Width));
        }
    }

    /// <summary>What a model's numbers that became NaN come out as.</summary>
    [TestCase(SKEncodedImageFormat.Png)]
    [TestCase(SKEncodedImageFormat.Jpeg)]
    [TestCase(SKEncodedImageFormat.Webp)]
    public void Prepare_Throws_WhenTheImageIsAllBlack(SKEncodedImageFormat format)
    {
        using var bitmap = new SKBitmap(64, 64);
        bitmap.Erase(SKColors.Black);
        using var black = bitmap.Encode(format, 100);
        bitmap.SetPixel(63, 63, SKColors.White);
        using var almost = bitmap.Encode(format, 100);

        var failure = Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, black.ToArray()));

        Assert.That(failure!.Failure, Is.EqualTo(ForgeFailure.BlackImage));
        Assert.That(Files(), Is.Empty);
        Assert.DoesNotThrow(() => _files.Prepare(JobId, 1, almost.ToArray()).Dispose());
    }

    [Test]
    public void Prepare_Throws_WhenTheImageIsAllTransparent()
    {
        using var bitmap = new SKBitmap(new SKImageInfo(64, 64, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        bitmap.Erase(SKColors.Transparent);
        using var transparent = bitmap.Encode(SKEncodedImageFormat.Png, 100);

        var failure = Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, transparent.ToArray()));

        Assert.That((failure!.Failure, failure.Reason), Is.EqualTo((ForgeFailure.BlackImage, "the image is all transparent")));
    }

    [Test]
    public void Prepare_TakesTheImage_WhenDarkShapesAreOnTransparentGround()
    {
        using var stream = typeof(ImageFilesTests).Assembly.GetManifestResourceStream("Cases/06-silhouette.png")!; // Embedded.
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);

        Assert.DoesNotThrow(() => _files.Prepare(JobId, 1, bytes.ToArray()).Dispose());
    }

    [TestCase("AAAAHGZ0eXBhdmlmAAAAAG1pZjFhdmlmbWlhZg==", "AVIF")]
    [TestCase("AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZg==", "HEIF")]
    [TestCase("SUkqAAgAAAAAAAAAAAAAAA==", "TIFF")]
    [TestCase("TU0AKgAAAAgAAAAAAAAAAA==", "TIFF")]
    [TestCase("AAAADEpYTCANCocKAAAAAA==", "JPEG XL")]
    public void Prepare_NamesTheFormat_WhenItIsNotDecodedHere(string base64, string format)
    {
        var failure = Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, Convert.FromBase64String(base64)));

        Assert.That(
            (failure!.Failure, failure.Reason),
            Is.EqualTo(
                (ForgeFailure.BadImage, $"the image is {format}, which is not decoded here; set the backend's samples_format to png")));
    }

    [Test]
    public void Prepare_ConvertsToPng_WhenItIsAGif()
    {
        // 1 x 1, white.
        using var prepared = _files.Prepare(
            JobId, 1, Convert.FromBase64String("R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="));

        Assert.That((prepared.Width, prepared.Height), Is.EqualTo((1, 1)));
    }

    [TestCase(ImageMetadata.Remove, false)]
    [TestCase(ImageMetadata.Keep, true)]
    public void Prepare_KeepsOrRemovesTheText_AsTheSettingSays(ImageMetadata metadata, bool isKept)
    {
        _files = FilesOfFolder(metadata);
        var plain = Image(SKEncodedImageFormat.Png, 64, 64);
        var text = $"bir kedi ışık 😀\nSteps: 20, Seed: 7{new string('x', 6 * 1024 * 1024)}";
        var withText = PngChunks.WithText(plain, "parameters", text);

        var png = Stored(withText, null);
        var converted = Stored(Image(SKEncodedImageFormat.Jpeg, 64, 64), text);

        Assert.Multiple(() =>
        {
            Assert.That(png.AsSpan().SequenceEqual(isKept ? withText.Span : plain), "byte for byte");
            Assert.That(converted.AsSpan().IndexOf(Encoding.UTF8.GetBytes("bir kedi ışık 😀")) > 0, Is.EqualTo(isKept));
            Assert.That(SKBitmap.Decode(converted), Is.Not.Null);
        });
    }

    /// <summary>In containers that share a folder each process has the id 1.</summary>
    [Test]
    public void WhyNotWritable_FindsNoFault_WhileOthersProbeTheSameFolder()
    {
        var answers = new ConcurrentBag<string?>();

        Parallel.For(0, 8, _ =>
        {
            for (var i = 0; i < 50; i++)
                answers.Add(FilesOfFolder().WhyNotWritable());
        });

        Assert.That(answers, Has.Count.EqualTo(400).And.All.Null);
        Assert.That(Directory.EnumerateFileSystemEntries(_directory), Is.Empty);
    }

    [Test]
    public void WithoutText_RemovesEachText_WhereverItIs()
    {
        var plain = Image(SKEncodedImageFormat.Png, 16, 16);
        var texts = PngChunks.WithText(PngChunks.WithText(plain, "parameters", "one").Span, "Comment", "two");

        Assert.That(PngChunks.WithoutText(texts).ToArray(), Is.EqualTo(plain));
        Assert.That(PngChunks.WithoutText(plain).Span == plain.AsSpan(), Is.True, "the very memory");
    }

    [Test]
    public void Prepare_Throws_WhenCutShortAnywhere(
        [Values(SKEncodedImageFormat.Png, SKEncodedImageFormat.Jpeg, SKEncodedImageFormat.Webp)] SKEncodedImageFormat format)
    {
        var whole = Image(format, 256, 256);
        int[] lengths = [
            1,
            8,
            12,
            20,
            40,
            whole.Length / 4,
            whole.Length / 2,
            whole.Length - 200,
            whole.Length - 13,
            whole.Length - 12,
            whole.Length - 4,
            whole.Length - 2];

        foreach (var length in lengths)
        {
            var exception = Assert.Throws<ForgeException>(
                () => _files.Prepare(JobId, 1, whole.AsMemory(0, length)), $"{length} of {whole.Length} bytes");
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.BadImage));
        }

        Assert.That(Files(), Is.Empty);
    }

    [Test]
    public void Prepare_Throws_WhenOneBitOfPngChanged()
    {
        var random = new Random(7);
        var whole = Image(SKEncodedImageFormat.Png, 64, 64);
        for (var i = 0; i < 100; i++)
        {
            var changed = whole.ToArray();
            changed[random.Next(41, whole.Length - 12)] ^= (byte)(1 << random.Next(8));
            Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, changed));
        }
    }

    [Test]
    public void Prepare_Throws_WhenNotAImage()
    {
        byte[][] garbage =
        [
            [], [0], "<html>502</html>"u8.ToArray(), "GIF89a..........."u8.ToArray(), new byte[5000],
            [0x89, .. "PNG\r\n\x1a\n"u8], [0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 3], [.. "RIFF"u8, 4, 0, 0, 0, .. "WEBP"u8],
        ];

        foreach (var bytes in garbage)
        {
            var exception = Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, bytes));
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.BadImage));
        }
    }

    [Test]
    public void Prepare_ThrowsWithoutDecoding_WhenFarTooLarge()
    {
        // The size stands in bytes 16 to 23 of a PNG, and the checksum of its chunk in 29 to 32.
        var png = Image(SKEncodedImageFormat.Png, 8, 8);
        png[17] = 1;
        png[21] = 1;
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(29), Crc32(png.AsSpan(12, 17)));

        var exception = Assert.Throws<ForgeException>(() => _files.Prepare(JobId, 1, png));

        Assert.That(exception!.Reason, Does.Contain("megapixels"));
    }

    [Test]
    public void Prepare_ShowsNothing_WhenNotPublished()
    {
        var prepared = _files.Prepare(JobId, 2, Image(SKEncodedImageFormat.Png, 8, 8));

        Assert.Multiple(() =>
        {
            Assert.That(Files(), Is.EquivalentTo(new[] { $"flux_{JobId}.2.tmp", $"flux_{JobId}.2.thumb.tmp" }));
            Assert.That(_files.FindPath(JobId), Is.Null);
        });
        prepared.Dispose();
        Assert.That(Files(), Is.Empty);
    }

    [Test]
    public void Publish_ReplacesTheImage_WhenThereIsOne()
    {
        var second = Image(SKEncodedImageFormat.Png, 16, 16);
        using (var prepared = _files.Prepare(JobId, 1, Image(SKEncodedImageFormat.Png, 8, 8)))
            prepared.Publish();
        using (var prepared = _files.Prepare(JobId, 2, second))
            prepared.Publish();

        Assert.Multiple(() =>
        {
            Assert.That(Files(), Is.EquivalentTo(new[] { $"flux_{JobId}.png", $"flux_{JobId}.thumb.webp" }));
            Assert.That(File.ReadAllBytes(_files.FindPath(JobId)!), Is.EqualTo(second));
        });
    }

    [TestCase("")]
    [TestCase("../../../../etc/passwd")]
    [TestCase("0123456789ABCDEF0123456789ABCDEF")]
    [TestCase("0123456789abcdef0123456789abcde")]
    [TestCase("0123456789abcdef0123456789abcdeı")]
    public void Prepare_Throws_WhenJobIdIsNone(string jobId) => Assert.Multiple(() =>
    {
        Assert.Throws<ArgumentException>(() => _files.Prepare(jobId, 1, Image(SKEncodedImageFormat.Png, 8, 8)));
        Assert.That(_files.FindPath(jobId), Is.Null);
        Assert.That(_files.ReadPreview(jobId), Is.Null);
    });

    [Test]
    public void Prepare_LetsIoTroubleThrough_WhenFolderCannotBeMade()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_directory)!);
        File.WriteAllText(_directory, "a file where the folder should be");

        Assert.That(() => _files.Prepare(JobId, 1, Image(SKEncodedImageFormat.Png, 8, 8)), Throws.InstanceOf<IOException>());
    }

    [Test]
    public void RemoveTemporaries_LeavesImagesAndStrangers_WhenCleaning()
    {
        const string running = "ffffffffffffffffffffffffffffffff";
        var png = Image(SKEncodedImageFormat.Png, 8, 8);
        using (var prepared = _files.Prepare(JobId, 1, png))
            prepared.Publish();
        _ = _files.Prepare(JobId, 2, png);
        _files.WritePreview(JobId, png);
        _ = _files.Prepare(running, 1, png);
        File.WriteAllText(Path.Combine(_directory, "flux_notes.tmp"), "not ours");

        var removed = _files.RemoveTemporaries(_files.ListTemporaries().Where(file => file.JobId != running));

        Assert.Multiple(() =>
        {
            Assert.That(removed, Is.EqualTo(3));
            Assert.That(
                Files(),
                Is.EquivalentTo(
                    new[]
                    {
                        $"flux_{JobId}.png",
                        $"flux_{JobId}.thumb.webp",
                        $"flux_{running}.1.tmp",
                        $"flux_{running}.1.thumb.tmp",
                        "flux_notes.tmp",
                    }));
        });
    }

    [Test]
    public void ListTemporaries_IsEmpty_WhenThereIsNoFolder() => Assert.That(_files.ListTemporaries(), Is.Empty);

    [Test]
    public void WritePreview_MakesItSmall_WhenLarge()
    {
        var written = _files.WritePreview(JobId, Image(SKEncodedImageFormat.Png, 1024, 640));

        using var codec = SKCodec.Create(new MemoryStream(_files.ReadPreview(JobId)!));
        Assert.Multiple(() =>
        {
            Assert.That(written, Is.True);
            Assert.That(codec.EncodedFormat, Is.EqualTo(SKEncodedImageFormat.Jpeg));
            Assert.That((codec.Info.Width, codec.Info.Height), Is.EqualTo((512, 320)));
            Assert.That(Files(), Has.Length.EqualTo(1));
        });
    }

    [Test]
    public void WritePreview_SaysNo_WhenNotAImage()
    {
        Assert.That(_files.WritePreview(JobId, "nothing"u8.ToArray()), Is.False);
        Assert.That(Files(), Is.Empty);
    }

    [Test]
    public void RemovePreview_RemovesIt_WhenThereIsOneOrNone()
    {
        _files.RemovePreview(JobId);
        _files.WritePreview(JobId, Image(SKEncodedImageFormat.Webp, 32, 32));

        _files.RemovePreview(JobId);

        Assert.That(_files.ReadPreview(JobId), Is.Null);
    }

    [Test, Explicit("A measurement: dotnet test --filter Name~Prepare_TakesMilliseconds -c Release")]
    public void Prepare_TakesMilliseconds_WhenImageIsLarge()
    {
        foreach (var format in (SKEncodedImageFormat[])[SKEncodedImageFormat.Png, SKEncodedImageFormat.Jpeg, SKEncodedImageFormat.Webp])
        {
            var bytes = Image(format, 1024, 1024);
            var checking = Median(() => ImageCheck.ToPng(bytes));
            var publishing = Median(() =>
            {
                using var prepared = _files.Prepare(JobId, 1, bytes);
                prepared.Publish();
            });
            TestContext.Out.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{format} {bytes.Length / 1024} KB: check {checking.TotalMilliseconds:0.0} ms; check, write, flush and rename "
                    + $"{publishing.TotalMilliseconds:0.0} ms"));
        }

        static TimeSpan Median(Action action)
        {
            var times = Enumerable.Range(0, 21).Select(_ =>
            {
                var start = TimeProvider.System.GetTimestamp();
                action();
                return TimeProvider.System.GetElapsedTime(start);
            }).Order().ToList();
            return times[times.Count / 2];
        }
    }

    private ImageFiles FilesOfFolder(ImageMetadata metadata = ImageMetadata.Remove) => new(
        Options.Create(new ImagesOptions { Directory = _directory, Metadata = metadata }),
        TimeProvider.System,
        NullLogger<ImageFiles>.Instance);

    private byte[] Stored(ReadOnlyMemory<byte> image, string? parameters)
    {
        using var prepared = _files.Prepare(JobId, 1, image, parameters);
        prepared.Publish();
        return File.ReadAllBytes(_files.FindPath(JobId)!);
    }

    private string[] Files() =>
        Directory.Exists(_directory) ? [.. Directory.GetFiles(_directory).Select(path => Path.GetFileName(path)!)] : [];

    /// <summary>An image with some noise, so that it does not shrink to nothing; its top left corner is plain.</summary>
    private static byte[] Image(SKEncodedImageFormat format, int width, int height)
    {
        var random = new Random(1);
        using var bitmap = new SKBitmap(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque));
        var pixels = new byte[width * height * 4];
        for (var i = 0; i < pixels.Length; i += 4)
        {
            var (x, y) = (i / 4 % width, i / 4 / width);
            var noise = x < 8 && y < 8 ? 0 : random.Next(-8, 9);
            (pixels[i], pixels[i + 1], pixels[i + 2], pixels[i + 3]) =
                ((byte)(200 + noise), (byte)(x * 180 / width + 20 + noise), (byte)(y * 180 / height + 20 + noise), 255);
        }

        System.Runtime.InteropServices.Marshal.Copy(pixels, 0, bitmap.GetPixels(), pixels.Length);
        using var data = bitmap.Encode(format, 90);
        return data.ToArray();
    }

    /// <summary>PNG specification, annex D.</summary>
    private static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320;
        }

        return ~crc;
    }
}
