using System.Buffers.Binary;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Api;

/// <summary>What can be uploaded, how it is stored, and what is refused.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class UploadTests
{
    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await TestApp.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    [TestCase(SKEncodedImageFormat.Png)]
    [TestCase(SKEncodedImageFormat.Jpeg)]
    [TestCase(SKEncodedImageFormat.Webp)]
    public async Task Upload_IsStoredAsPng_WhateverItsHeaderSays(SKEncodedImageFormat format)
    {
        using var response = await SendAsync(TestImages.Make(64, 48, format), "image/png");

        var answer = await TestApp.ReadAsync(response);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created));
        Assert.That(((int)answer["width"]!, (int)answer["height"]!), Is.EqualTo((64, 48)));
        var location = response.Headers.Location!.OriginalString;
        Assert.That(location, Is.EqualTo($"/api/conversations/demo/uploads/{answer["upload_id"]}"));
        using var stored = await _app.Http.GetAsync(location);
        var bytes = await stored.Content.ReadAsByteArrayAsync();
        Assert.That(stored.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/png"));
        Assert.That(stored.Headers.CacheControl!.Private, Is.True);
        Assert.That(bytes, Has.Length.EqualTo((int)answer["bytes"]!));
        using var bitmap = TestImages.Decode(bytes);
        Assert.That(IsRed(bitmap.GetPixel(5, 5)) && !IsRed(bitmap.GetPixel(60, 5)), "its pixels");
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(
                File.GetUnixFileMode(Path.Combine(_app.ImagesFolder, $"upload_{answer["upload_id"]}.png")),
                Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }
    }

    /// <summary>Where the red corner is, and the size, once it is upright.</summary>
    [TestCase(1, 64, 48, 5, 5)]
    [TestCase(2, 64, 48, 58, 5)]
    [TestCase(3, 64, 48, 58, 42)]
    [TestCase(4, 64, 48, 5, 42)]
    [TestCase(5, 48, 64, 5, 5)]
    [TestCase(6, 48, 64, 42, 5)]
    [TestCase(7, 48, 64, 42, 58)]
    [TestCase(8, 48, 64, 5, 58)]
    public async Task Upload_IsTurnedUpright(byte orientation, int width, int height, int x, int y)
    {
        var jpeg = TestImages.WithOrientation(TestImages.Make(64, 48, SKEncodedImageFormat.Jpeg), orientation);

        using var bitmap = TestImages.Decode(await StoredAsync(jpeg));

        Assert.That((bitmap.Width, bitmap.Height), Is.EqualTo((width, height)));
        Assert.That(IsRed(bitmap.GetPixel(x, y)), $"{x}, {y}");
        Assert.That(IsRed(bitmap.GetPixel(width - 1 - x, height - 1 - y)), Is.False);
    }

    [Test]
    public async Task Upload_IsMadeSmaller_WhenASideIsTooLong()
    {
        using var bitmap = TestImages.Decode(await StoredAsync(TestImages.Make(3000, 300, SKEncodedImageFormat.Jpeg)));

        Assert.That((bitmap.Width, bitmap.Height), Is.EqualTo((UploadImage.MaxSide, 204)));
    }

    /// <summary>A text in it, and a ZIP behind it: neither is kept.</summary>
    [Test]
    public async Task Upload_KeepsNothingButPixels()
    {
        var plain = TestImages.Make();
        byte[] polyglot = [
            .. plain[..33], .. Chunk("tEXt", Encoding.Latin1.GetBytes("Comment\0gizli")), .. plain[33..], .. "PK\u0003\u0004gizli"u8];

        var stored = await StoredAsync(polyglot);

        Assert.That(Encoding.Latin1.GetString(stored), Does.Not.Contain("gizli").And.Not.Contain("PK"));
        Assert.That(stored, Is.EqualTo(await StoredAsync(plain)));
    }

    [Test]
    public async Task Upload_TakesTheFile_OfAForm()
    {
        using var form = new MultipartFormDataContent
        {
            { new StringContent("ayşe"), "username" },
            { new ByteArrayContent(TestImages.Make()), "file", "resim.png" },
        };

        using var response = await _app.Http.PostAsync("api/conversations/demo/uploads", form);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created), await response.Content.ReadAsStringAsync());
    }

    [Test]
    public async Task Upload_IsRefused_WhenTheFormIsNone()
    {
        using var without = new MultipartFormDataContent { { new StringContent("x"), "image" } };
        using var cut = new ByteArrayContent("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc"u8.ToArray());
        cut.Headers.ContentType = MediaTypeHeaderValue.Parse("multipart/form-data; boundary=b");
        using var empty = new ByteArrayContent([]);
        empty.Headers.ContentType = MediaTypeHeaderValue.Parse("multipart/form-data");

        foreach (var content in new HttpContent[] { without, cut, empty })
        {
            using var response = await _app.Http.PostAsync("api/conversations/demo/uploads", content);
            await AssertRefusedAsync(response, 400, "invalid_request");
        }

        AssertNothingIsLeft();
    }

    private static readonly (string Name, byte[] Bytes, int Status, string Code)[] Refused =
    [
        ("nothing", [], 415, "unsupported_media_type"),
        ("a page", [.. "<!doctype html><script>alert(1)</script>"u8], 415, "unsupported_media_type"),
        ("an SVG", [.. "<svg xmlns='http://www.w3.org/2000/svg'/>"u8], 415, "unsupported_media_type"),
        ("a GIF", [.. "GIF89a\u0001\0\u0001\0\0\0\0;"u8], 415, "unsupported_media_type"),
        ("a ZIP", [.. "PK\u0003\u0004"u8], 415, "unsupported_media_type"),
        ("the start of a PNG", TestImages.Make()[..60], 400, "invalid_image"),
        ("a GIF behind a PNG's signature", [.. TestImages.Make()[..8], .. "GIF89a"u8], 400, "invalid_image"),
        ("half a JPEG", TestImages.Make(640, 480, SKEncodedImageFormat.Jpeg)[..900], 400, "invalid_image"),
        ("half a WebP", TestImages.Make(64, 48, SKEncodedImageFormat.Webp)[..40], 400, "invalid_image"),
        ("a PNG of four gigapixels", Bomb(65_000, 65_000), 400, "invalid_image"),
        ("a PNG without its pixels", Bomb(64, 64), 400, "invalid_image"),
    ];

    [TestCaseSource(nameof(Refused))]
    public async Task Upload_IsRefused_WhenItIsNoImage((string Name, byte[] Bytes, int Status, string Code) sent)
    {
        using var response = await SendAsync(sent.Bytes, "image/png");

        await AssertRefusedAsync(response, sent.Status, sent.Code);
        AssertNothingIsLeft();
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Upload_IsRefused_WhenItIsTooLarge(bool isAnnounced)
    {
        using var body = new ByteArrayContent(new byte[UploadImage.MaxBytes + 1]);
        using var request = new HttpRequestMessage(HttpMethod.Post, "api/conversations/demo/uploads") { Content = body };
        body.Headers.ContentType = new MediaTypeHeaderValue("image/png");
        request.Headers.TransferEncodingChunked = !isAnnounced;

        using var response = await _app.Http.SendAsync(request);

        await AssertRefusedAsync(response, 413, "upload_too_large");
        AssertNothingIsLeft();
    }

    /// <summary>A client that announces 100 MB is refused before it has sent them.</summary>
    [Test]
    public async Task Upload_IsRefused_BeforeItIsSent_WhenItIsAnnouncedTooLarge()
    {
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", _app.Address.Port);
        await using var stream = client.GetStream();
        await stream.WriteAsync(Head(100 * 1024 * 1024));

        using var reader = new StreamReader(stream);

        Assert.That(await reader.ReadLineAsync(), Does.StartWith("HTTP/1.1 413"));
    }

    [Test]
    public async Task Upload_LeavesNothing_WhenTheClientHangsUp()
    {
        using (var client = new TcpClient())
        {
            await client.ConnectAsync("127.0.0.1", _app.Address.Port);
            await using var stream = client.GetStream();
            await stream.WriteAsync(Head(1_000_000));
            await stream.WriteAsync(TestImages.Make());
            await Until.TrueAsync(
                () => Directory.Exists(_app.ImagesFolder) && Directory.GetFiles(_app.ImagesFolder, "upload_*.tmp").Length > 0,
                "it is being received");
        }

        await Until.TrueAsync(() => Directory.GetFiles(_app.ImagesFolder, "upload_*.tmp").Length == 0, "it is removed");
        Assert.That(_app.Log.ToString(), Does.Not.Contain("failed (")); // As the handler of exceptions logs an error.
    }

    /// <summary>Random damage to whole images: stored or refused, never an error of ours.</summary>
    [Test]
    public async Task Upload_IsStoredOrRefused_HoweverItIsDamaged()
    {
        var random = new Random(20_261_130);
        SKEncodedImageFormat[] formats = [SKEncodedImageFormat.Png, SKEncodedImageFormat.Jpeg, SKEncodedImageFormat.Webp];
        var statuses = new Dictionary<int, int>();
        for (var i = 0; i < 120; i++)
        {
            var bytes = TestImages.Make(40, 30, formats[i % formats.Length]);
            for (var hit = random.Next(1, 8); hit > 0; hit--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            if (i % 4 == 0)
                bytes = bytes[..random.Next(bytes.Length)];

            using var response = await SendAsync(bytes, "application/octet-stream");

            statuses[(int)response.StatusCode] = statuses.GetValueOrDefault((int)response.StatusCode) + 1;
        }

        Assert.That(statuses.Keys, Is.SubsetOf(new[] { 201, 400, 415 }));
        Assert.That(statuses.Keys, Does.Contain(400));
        AssertNothingIsLeft();
    }

    [Test]
    public async Task Get_FindsNothing_InAnotherConversation()
    {
        var id = (string)(await TestApp.ReadAsync(await SendAsync(TestImages.Make(), "image/png")))["upload_id"]!;

        using var response = await _app.Http.GetAsync($"api/conversations/another/uploads/{id}");

        await AssertRefusedAsync(response, 404, "not_found");
    }

    private Task<HttpResponseMessage> SendAsync(byte[] bytes, string type)
    {
        var content = new ByteArrayContent(bytes);
        content.Headers.ContentType = new MediaTypeHeaderValue(type);
        return _app.Http.PostAsync("api/conversations/demo/uploads", content);
    }

    private async Task<byte[]> StoredAsync(byte[] bytes)
    {
        using var response = await SendAsync(bytes, "image/jpeg");
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created), await response.Content.ReadAsStringAsync());
        return await _app.Http.GetByteArrayAsync(response.Headers.Location);
    }

    private static async Task AssertRefusedAsync(HttpResponseMessage response, int status, string code)
    {
        var problem = await TestApp.ReadAsync(response);
        Assert.That(((int)response.StatusCode, (string?)problem["code"]), Is.EqualTo((status, code)), problem.ToJsonString());
    }

    private void AssertNothingIsLeft() => Assert.That(Directory.GetFiles(_app.ImagesFolder, "*.tmp"), Is.Empty);

    private static byte[] Head(int length) => Encoding.ASCII.GetBytes(string.Create(
        CultureInfo.InvariantCulture,
        $"POST /api/conversations/demo/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        + $"Content-Length: {length}\r\n\r\n"));

    private static bool IsRed(SKColor colour) => colour is { Red: > 150, Blue: < 100 };

    /// <summary>A PNG that announces so many pixels and holds none.</summary>
    private static byte[] Bomb(int width, int height)
    {
        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = (8, 2);
        using var pixels = new MemoryStream();
        using (var zip = new ZLibStream(pixels, CompressionLevel.SmallestSize))
            zip.Write(new byte[1000]);
        return [.. TestImages.Make()[..8], .. Chunk("IHDR", header), .. Chunk("IDAT", pixels.ToArray()), .. Chunk("IEND", [])];
    }

    private static byte[] Chunk(string type, byte[] data)
    {
        byte[] body = [.. Encoding.ASCII.GetBytes(type), .. data];
        var chunk = new byte[body.Length + 8];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
        body.CopyTo(chunk, 4);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(body.Length + 4), Crc(body));
        return chunk;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var one in bytes)
        {
            crc ^= one;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
        }

        return ~crc;
    }
}
