using CsCheck;

namespace ImageQueue.Tests.Auth;

/// <summary>A request of a careless or hostile caller.</summary>
/// <param name="Method">Any.</param>
/// <param name="Target">Path and query, encoded or wrongly so.</param>
/// <param name="ContentType">Null sends none.</param>
/// <param name="Body">Null sends none.</param>
/// <param name="Headers">Others.</param>
/// <param name="HasFormToken">Whether it comes with the dashboard's own token, so that it gets past that check.</param>
internal sealed record FuzzRequest(
    string Method, string Target, string? ContentType, byte[]? Body, (string Name, string Value)[] Headers, bool HasFormToken)
{
    public override string ToString() =>
        $"{Method} {Target} {ContentType} {string.Join(' ', Headers.Select(header => $"{header.Name}: {header.Value}"))} "
            + $"{(Body is null ? "" : Encoding.UTF8.GetString(Body[..Math.Min(Body.Length, 300)]))}";
}

/// <summary>Generates them: mostly an endpoint that is there, with something wrong in one place or several.</summary>
internal static class FuzzRequests
{
    private static readonly Gen<string> Method = Gen.OneOfConst(
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "MERGE");

    private static readonly Gen<string> Segment = Gen.OneOf(
        Gen.OneOfConst(
            "sohbet",
            "c1",
            "c2",
            "1",
            "2",
            "3",
            "7",
            "40",
            "0",
            "-1",
            "9223372036854775807",
            "9223372036854775808",
            "1e9",
            "0x1",
            "1.0",
            "%00",
            "%ff%fe",
            "%c0%80",
            "%ed%a0%80"),
        Gen.OneOfConst(
            "..%2f..%2fetc",
            "%2e%2e",
            "a%2fb",
            "%25",
            "%",
            "%zz",
            "a b",
            "%20",
            "a%0d%0ab",
            "%F0%9F%8E%A8",
            "%u0041",
            "'%20OR%201=1",
            "%22%3E%3Cscript%3E",
            "flux_",
            "null"),
        Gen.Char['a', 'z'].Array[1, 300].Select(letters => new string(letters)),
        Gen.Int[0, 15]
            .Array[32]
            .Select(digits => string.Concat(digits.Select(digit => digit.ToString("x", CultureInfo.InvariantCulture)))));

    private static readonly Gen<string> Query = Gen.OneOf(
        Gen.Const(""),
        Gen.Const(""),
        Gen.OneOfConst(
            "?after=-1", "?after=x&limit=0", "?limit=99999999999999999999", "?after=9223372036854775807&limit=200", "?from=-1&count=-1",
            "?from=99999999999&count=99999999999",
            "?from=2147483647&count=2147483647", "?period=week", "?period=%00", "?last_event_id=-5", "?last_event_id=99999999999999999999",
            "?access_token=iqw_x&access_token=y", "?ACCESS%5FTOKEN=iqw_x",
            "?username=%ff", "?username=" + "a", "?%", "?=&&=", "?a[]=1&a[]=2&a=3", "?return=//evil.example", "?negotiateVersion=-1",
            "?id=x", "?id=../..", "?skip_current_image=maybe", "?a[=1", "?[]=&]a[=2"));

    private static readonly Gen<string?> ContentType = Gen.OneOfConst<string?>(
        "application/json", "application/json", "application/json", "application/merge-patch+json", "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/json; charset=nonsense", "text/plain",
        "application/xml", "////", "application/octet-stream", null);

    private static readonly Gen<string> Number = Gen.OneOf(
        Gen.OneOfConst(
            "0",
            "-0",
            "1",
            "64",
            "512",
            "2048",
            "2056",
            "-8",
            "1e400",
            "-1e400",
            "1e-400",
            "0.1",
            "99999999999999999999999999",
            "9223372036854775807",
            "4294967296",
            "NaN",
            "01",
            "1.",
            "0x10",
            "1E2"),
        Gen.Int.Select(number => number.ToString(CultureInfo.InvariantCulture)),
        Gen.Decimal.Select(number => number.ToString(CultureInfo.InvariantCulture)));

    private static readonly Gen<string> Text = Gen.OneOf(
        Gen.OneOfConst(
            "\"\"",
            "\" \"",
            "\"a\"",
            "\"ayşe\"",
            "\"user\"",
            "\"bot\"",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\u0000\"",
            "\"\\x\"",
            "\"a\\nb\"",
            "\"İıŞğ🎨\"",
            "\"</script>\"",
            "\"unfinished",
            "\"Euler\""),
        Gen.Int[0, 6000].Select(length => $"\"{new string('x', length)}\""),
        Gen.String.Select(text => JsonSerializer.Serialize(text)));

    private static readonly Gen<string> Other = Gen.OneOf(
        Gen.OneOfConst(
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[[]]",
            "{\"a\":null}",
            "{\"a\":{\"a\":{\"a\":1}}}",
            "{\"status\":\"complete\"}",
            "{\"a\":1,\"a\":2}",
            "undefined",
            "",
            "/*x*/1",
            "{\"a\\\"b\":1}"),
        Gen.Int[1, 300].Select(depth => string.Concat(Enumerable.Repeat("{\"a\":", depth)) + "1" + new string('}', depth)),
        Gen.Int[1, 300].Select(depth => new string('[', depth) + new string(']', depth)));

    private static readonly Gen<string> Field = Gen.OneOfConst(
        "username", "username", "prompt", "prompt", "width", "height", "steps", "cfg_scale", "distilled_cfg_scale", "seed", "sampler",
        "scheduler", "checkpoint", "negative_prompt", "role", "content", "extra_metadata", "fault", "times", "id_task", "widht",
        "__proto__");

    private static readonly Gen<string> Member = Gen.Select(
        Field, Gen.Frequency((3, Text), (2, Number), (1, Other)), (name, value) => $"\"{name}\":{value}");

    /// <summary>A right body with something more, or nothing but the generated.</summary>
    private static readonly Gen<string> Json = Gen.Select(
        Gen.OneOfConst(
            "", "", "\"username\":\"ayşe\"", "\"username\":\"ayşe\",\"prompt\":\"bir gül\"", "\"username\":\"ayşe\",\"prompt\":\"bir gül\"",
            "\"username\":\"ayşe\",\"role\":\"user\",\"content\":\"selam\"", "\"extra_metadata\":{\"client\":1}"),
        Member.Array[0, 4],
        (start, members) => "{" + string.Join(',', members.Prepend(start).Where(part => part.Length > 0)) + "}");

    private static readonly Gen<byte[]> Form = Gen.OneOf(
        Gen.OneOfConst(
            "jobs[]=1", "jobs[]=1&jobs[]=%ff%fe", "jobs[]=%zz", "jobs%5B%5D=..%2f", "=", "&&&", "a=%", "jobs[]", "key=x&return=/",
            "metrics[]=none&metrics[]=recurring:count", "metrics[]=", "jobs[]=\0", "a[=1",
            "--x\r\nContent-Disposition: form-data; name=\"jobs[]\"\r\n\r\n1\r\n--x--\r\n",
            "--x\r\nContent-Disposition: form-data; name=\"jobs[]\"\r\n\r\n1", "--x\r\nnonsense\r\n\r\n--x--", "--y\r\n\r\n--y--",
            "--x\r\n: \r\n\r\n\r\n--x--")
            .Select(Encoding.UTF8.GetBytes),
        Gen.Int[1000, 3000].Select(count => Encoding.ASCII.GetBytes(string.Join('&', Enumerable.Range(0, count).Select(i => $"k{i}={i}")))),
        Gen.Int[1, 5000].Select(length => Encoding.ASCII.GetBytes(new string('k', length) + "=1")));

    private static readonly Gen<byte[]?> Body = Gen.Frequency(
        (1, Gen.Const((byte[]?)null)),
        (8, Json.Select(byte[]? (json) => Encoding.UTF8.GetBytes(json))),
        (2, Form.Select(byte[]? (form) => form)),
        (1, Gen.Byte.Array[0, 200].Select(byte[]? (bytes) => bytes)),
        (1, Json.Select(byte[]? (json) => Encoding.Unicode.GetBytes(json))),
        (1, Json.Select(byte[]? (json) => [.. Encoding.UTF8.GetBytes(json[..(json.Length / 2)]), 0xff, 0xc3, 0x28])));

    private static readonly Gen<(string Name, string Value)> Header = Gen.OneOfConst(
        ("Idempotency-Key", "k1"), ("Idempotency-Key", ""), (
            "Idempotency-Key",
            new string('k', 3000)), ("Last-Event-ID", "x"), ("Last-Event-ID", "-1"), ("Last-Event-ID", "99999999999999999999"),
        ("Accept", "text/html"), ("Accept", "////"), ("Accept", "image/*;q=2"), ("Accept-Language", "tr;q=9,*"), (
            "Accept-Language", new string('x', 500)), ("If-None-Match", "\"x"), ("If-None-Match", "*"),
        ("Range", "bytes=99999999999-"), ("Range", "bytes=-"), (
            "Cookie",
            "imagequeue=x; imagequeue-form=y"), ("Cookie", "=;;="), ("X-Api-Key", "x"), ("Origin", "null"), ("Origin", "////"),
            ("Sec-Fetch-Site", "x"),
        ("X-Forwarded-For", "////"), ("X-Forwarded-Proto", "javascript"), (
            "X-HTTP-Method-Override",
            "DELETE"), ("Content-Encoding", "gzip"), ("Expect", "100-continue"), ("Upgrade", "websocket"), ("Prefer", "wait=x"),
        ("traceparent", "00-x-y-z"), ("X-Requested-With", "\u0001"));

    /// <summary>Requests to these endpoints.</summary>
    /// <param name="endpoints">Method, or * for any, and route pattern.</param>
    public static Gen<FuzzRequest> For(IReadOnlyList<(string Method, string Pattern)> endpoints) => Gen.Select(
        Gen.OneOfConst([.. endpoints]),
        Gen.Frequency((9, Gen.Const("")), (1, Method)),
        Segment.Array[3],
        Query,
        ContentType,
        Body,
        Header.Array[0, 2],
        Gen.Int[0, 9],
        (endpoint, method, segments, query, type, body, headers, dice) =>
        {
            var verb = method.Length > 0 ? method : endpoint.Method != "*" ? endpoint.Method : dice < 5 ? "POST" : "GET";
            var sendsBody = verb is "POST" or "PUT" or "PATCH" or "DELETE" or "MERGE";
            return new FuzzRequest(
                verb,
                Fill(endpoint.Pattern, segments) + query,
                sendsBody ? type : null,
                sendsBody ? body : null,
                headers,
                HasFormToken: dice > 0);
        });

    private static string Fill(string pattern, string[] values)
    {
        var text = new StringBuilder();
        var (depth, next) = (0, 0);
        foreach (var c in pattern)
        {
            if (c == '{' && depth++ == 0)
                text.Append(values[next++ % values.Length]);
            else if (c == '}')
                depth--;
            else if (depth == 0)
                text.Append(c);
        }

        return text.ToString();
    }
}
