using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>One merge and what must come of it. A null target is a row that has no metadata yet.</summary>
public sealed record MergeCase(string Name, string? Target, string Patch, string Expected)
{
    /// <summary>The name, which a test runner shows.</summary>
    public override string ToString() => Name;
}

/// <summary>
/// The merges that every store must agree on: those of RFC 7396's appendix whose target and patch are objects, and the
/// ones that tell the stores apart.
/// </summary>
public static class Rfc7396Table
{
    /// <summary>All cases, for <c>TestCaseSource</c>.</summary>
    public static IEnumerable<TestCaseData> Cases => All.Select(merge => new TestCaseData(merge).SetArgDisplayNames(merge.Name));

    /// <summary>All cases.</summary>
    public static IReadOnlyList<MergeCase> All { get; } =
    [
        // RFC 7396, section 3 and appendix A.
        new("rfc: section 3's article",
            """{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will """
                + """be unchanged"}""",
            """{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}""",
            """{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be """
                + """unchanged","phoneNumber":"+01-123-456-7890"}"""),
        new("rfc: replace a value", """{"a":"b"}""", """{"a":"c"}""", """{"a":"c"}"""),
        new("rfc: add a value", """{"a":"b"}""", """{"b":"c"}""", """{"a":"b","b":"c"}"""),
        new("rfc: remove the only value", """{"a":"b"}""", """{"a":null}""", "{}"),
        new("rfc: remove one of two", """{"a":"b","b":"c"}""", """{"a":null}""", """{"b":"c"}"""),
        new("rfc: a text replaces an array", """{"a":["b"]}""", """{"a":"c"}""", """{"a":"c"}"""),
        new("rfc: an array replaces a text", """{"a":"c"}""", """{"a":["b"]}""", """{"a":["b"]}"""),
        new("rfc: merge and remove in a nested object", """{"a":{"b":"c"}}""", """{"a":{"b":"d","c":null}}""", """{"a":{"b":"d"}}"""),
        new("rfc: an array replaces an array of objects", """{"a":[{"b":"c"}]}""", """{"a":[1]}""", """{"a":[1]}"""),
        new("rfc: a stored null stays", """{"e":null}""", """{"a":1}""", """{"e":null,"a":1}"""),
        new("rfc: nulls in a new nested object vanish", "{}", """{"a":{"bb":{"ccc":null}}}""", """{"a":{"bb":{}}}"""),

        // Where to start from.
        new("start: no metadata yet", null, """{"a":1}""", """{"a":1}"""),
        new("start: no metadata yet, nested", null, """{"a":{"b":{"c":1}}}""", """{"a":{"b":{"c":1}}}"""),
        new("start: no metadata and nothing to merge", null, "{}", "{}"),
        new("start: nothing to merge", """{"a":1}""", "{}", """{"a":1}"""),
        new("start: remove what is not there", """{"a":1}""", """{"b":null}""", """{"a":1}"""),
        new("start: remove from no metadata", null, """{"b":null,"c":{"d":null}}""", """{"c":{}}"""),
        new(
            "start: stored with blanks and line ends",
            "{ \"a\" : { \"b\" : [ 1 , 2 ] } ,\n\t\"c\" : 1 }",
            """{"a":{"d":2},"c":null}""",
            """{"a":{"b":[1,2],"d":2}}"""),

        // The product's own writes.
        new(
            "product: progress keeps the queue position",
            """{"status":"processing","queue_position":3,"progress":0}""",
            """{"progress":40}""",
            """{"status":"processing","queue_position":3,"progress":40}"""),
        new("product: submit over the chat app's keys", """{"pinned":true,"theme":{"dark":true}}""",
            """{"status":"queued","progress":0,"queue_position":7,"job_id":"0f8fad5bd9cb469fa16570867728950e","prompt":"kırmızı bir """
                + """gül","settings":{"width":1024,"height":768,"steps":20,"seed":-1,"cfg_scale":3.5}}""",
            """{"pinned":true,"theme":{"dark":true},"status":"queued","progress":0,"queue_position":"""
                + """7,"job_id":"0f8fad5bd9cb469fa16570867728950e","prompt":"kırmızı bir gül","settings":{"width":1024,"height":"""
                    + """768,"steps":20,"seed":-1,"cfg_scale":3.5}}"""),
        new("product: complete", """{"status":"processing","progress":90,"settings":{"steps":20}}""",
            """{"status":"complete","progress":100,"queue_position":0,"image_url":"/images/flux_0f8fad5b.png","result":{"seed":"""
                + """4294967295,"width":64,"model":"flux1-dev","duration_seconds":12.5}}""",
            """{"status":"complete","progress":100,"queue_position":0,"settings":{"steps":"""
                + """20},"image_url":"/images/flux_0f8fad5b.png","result":{"seed":4294967295,"width":"""
                    + """64,"model":"flux1-dev","duration_seconds":12.5}}"""),
        new(
            "product: retry removes the error",
            """{"status":"error","error":"Forge API zaman aşımına uğradı (180s).","image_url":"/x"}""",
            """{"status":"queued","progress":0,"error":null,"image_url":null}""",
            """{"status":"queued","progress":0}"""),

        // Objects where there was none, and the other way about.
        new("nesting: every parent is missing", """{"x":1}""", """{"a":{"b":{"c":{"d":"e"}}}}""", """{"x":1,"a":{"b":{"c":{"d":"e"}}}}"""),
        new("nesting: the last parent is missing", """{"a":{"b":{}}}""", """{"a":{"b":{"c":{"d":1}}}}""", """{"a":{"b":{"c":{"d":1}}}}"""),
        new(
            "nesting: siblings at each level stay",
            """{"a":{"b":{"c":1,"x":2},"y":3},"z":4}""",
            """{"a":{"b":{"c":5}}}""",
            """{"a":{"b":{"c":5,"x":2},"y":3},"z":4}"""),
        new("nesting: a number where the patch has an object", """{"a":1}""", """{"a":{"b":2}}""", """{"a":{"b":2}}"""),
        new("nesting: a text where the patch has an object", """{"a":"{\"b\":1}"}""", """{"a":{"c":2}}""", """{"a":{"c":2}}"""),
        new("nesting: a text that starts with a brace", """{"a":"{"}""", """{"a":{}}""", """{"a":{}}"""),
        new("nesting: true where the patch has an object", """{"a":true}""", """{"a":{"b":2}}""", """{"a":{"b":2}}"""),
        new("nesting: null where the patch has an object", """{"a":null}""", """{"a":{"b":2}}""", """{"a":{"b":2}}"""),
        new("nesting: an array where the patch has an object", """{"a":[{"b":1}]}""", """{"a":{"b":2}}""", """{"a":{"b":2}}"""),
        new(
            "nesting: a scalar half-way down",
            """{"a":{"b":7,"k":1}}""",
            """{"a":{"b":{"c":{"d":1}}}}""",
            """{"a":{"b":{"c":{"d":1}},"k":1}}"""),
        new(
            "nesting: an array half-way down",
            """{"a":{"b":[[1]],"k":1}}""",
            """{"a":{"b":{"c":{"d":1}}}}""",
            """{"a":{"b":{"c":{"d":1}},"k":1}}"""),
        new("nesting: a scalar replaces an object", """{"a":{"b":{"c":1}}}""", """{"a":5}""", """{"a":5}"""),
        new("nesting: an array replaces an object", """{"a":{"b":1}}""", """{"a":[]}""", """{"a":[]}"""),
        new("nesting: null removes a whole object", """{"a":{"b":{"c":1}},"d":1}""", """{"a":null}""", """{"d":1}"""),
        new("nesting: null removes deep down", """{"a":{"b":{"c":1,"d":2}}}""", """{"a":{"b":{"c":null}}}""", """{"a":{"b":{"d":2}}}"""),
        new("nesting: removing the last member leaves an object", """{"a":{"b":1}}""", """{"a":{"b":null}}""", """{"a":{}}"""),
        new("nesting: an empty object on nothing", "{}", """{"a":{}}""", """{"a":{}}"""),
        new("nesting: an empty object on an object", """{"a":{"b":1}}""", """{"a":{}}""", """{"a":{"b":1}}"""),
        new("nesting: an empty object on a scalar", """{"a":5}""", """{"a":{}}""", """{"a":{}}"""),
        new("nesting: an empty object on an array", """{"a":[1]}""", """{"a":{}}""", """{"a":{}}"""),
        new("nesting: nulls among new members", "{}", """{"a":{"x":null,"y":1,"z":{"w":null}}}""", """{"a":{"y":1,"z":{}}}"""),
        new(
            "nesting: two objects side by side",
            """{"a":{"x":1},"b":{"x":2}}""",
            """{"a":{"y":3},"b":{"x":null,"y":4}}""",
            """{"a":{"x":1,"y":3},"b":{"y":4}}"""),
        new(
            "nesting: the same key at each level",
            """{"a":{"a":{"a":1}}}""",
            """{"a":{"a":{"a":2,"b":3},"b":4},"b":5}""",
            """{"a":{"a":{"a":2,"b":3},"b":4},"b":5}"""),
        new("nesting: 16 levels on nothing", "{}", Deep(16, "1"), Deep(16, "1")),
        new("nesting: 16 levels on 16 levels", Deep(16, "1"), Deep(16, "[2]"), Deep(16, "[2]")),
        new("nesting: 16 levels on a scalar at level 8", Deep(8, "true"), Deep(16, "\"x\""), Deep(16, "\"x\"")),
        new("nesting: 100 keys on nothing", null, Wide(0, 100), Wide(0, 100)),
        new("nesting: 100 keys on 50", Wide(50, 100), Wide(0, 75), Wide(0, 100)),
        new("nesting: 256 keys", "{}", Wide(0, 256), Wide(0, 256)),
        new("nesting: 15 objects of 15 keys", """{"k3":{"own":1},"k4":7}""", Grid(15, ""), Grid(15, "\"own\":1,")),

        // Arrays are values: replaced whole, kept as they were written.
        new(
            "array: nulls and objects inside it stay",
            "{}",
            """{"a":[null,{"b":null,"c":{}},[]]}""",
            """{"a":[null,{"b":null,"c":{}},[]]}"""),
        new(
            "array: exact numbers inside it",
            "{}",
            """{"a":[1.10,12345678901234567890,1e2,-0.5]}""",
            """{"a":[1.10,12345678901234567890,100,-0.5]}"""),
        new("array: empty", """{"a":[1,2]}""", """{"a":[]}""", """{"a":[]}"""),
        new(
            "array: texts with quotes inside it",
            "{}",
            """{"a":["\"","\\","/","</script>","\n"]}""",
            """{"a":["\"","\\","/","</script>","\n"]}"""),
        new(
            "array: longer than 4,000 characters",
            """{"b":1}""",
            $$"""{"a":[{{string.Join(',', Enumerable.Range(0, 3000))}}]}""",
            $$"""{"b":1,"a":[{{string.Join(',', Enumerable.Range(0, 3000))}}]}"""),
        new(
            "array: beside members that merge",
            """{"a":{"l":[1],"o":{"x":1}}}""",
            """{"a":{"l":[{"o":1}],"o":{"y":2}}}""",
            """{"a":{"l":[{"o":1}],"o":{"x":1,"y":2}}}"""),

        // Numbers, to the last digit.
        new(
            "number: largest and smallest of 64 bits",
            "{}",
            """{"a":9223372036854775807,"b":-9223372036854775808}""",
            """{"a":9223372036854775807,"b":-9223372036854775808}"""),
        new(
            "number: unsigned of 64 bits",
            "{}",
            """{"a":18446744073709551615,"b":9223372036854775808}""",
            """{"a":18446744073709551615,"b":9223372036854775808}"""),
        new("number: beyond a double's integers", "{}", """{"a":9007199254740993}""", """{"a":9007199254740993}"""),
        new("number: 0.1", "{}", """{"a":0.1,"b":-0.1}""", """{"a":0.1,"b":-0.1}"""),
        new("number: 1.10", "{}", """{"a":1.10}""", """{"a":1.10}"""),
        new(
            "number: with an exponent",
            "{}",
            """{"a":1e2,"b":1E-2,"c":12.5e+1,"d":-2.5e3,"e":1.234e1}""",
            """{"a":100,"b":0.01,"c":125,"d":-2500,"e":12.34}"""),
        new("number: zeros", "{}", """{"a":0,"b":-0,"c":0.00,"d":-0.0,"e":0e5,"f":0.0e-3}""", """{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0}"""),
        new(
            "number: 29 digits, more than .NET's decimal",
            "{}",
            """{"a":79228162514264337593543950336,"b":-7.9228162514264337593543950337}""",
            """{"a":79228162514264337593543950336,"b":-7.9228162514264337593543950337}"""),
        new(
            "number: 38 digits",
            "{}",
            """{"a":99999999999999999999999999999999999999,"b":-1234567890123456789.0123456789012345678}""",
            """{"a":99999999999999999999999999999999999999,"b":-1234567890123456789.0123456789012345678}"""),
        new(
            "number: 38 digits behind the point",
            "{}",
            """{"a":1e-38,"b":0.99999999999999999999999999999999999999}""",
            """{"a":0.00000000000000000000000000000000000001,"b":0.99999999999999999999999999999999999999}"""),
        new(
            "number: 1e37 and 0.001e40",
            "{}",
            """{"a":1e37,"b":0.001e40}""",
            """{"a":10000000000000000000000000000000000000,"b":10000000000000000000000000000000000000}"""),
        new(
            "number: stored ones stay as they are",
            """{"a":1.50,"b":12345678901234567890.123456789012345678901234567890,"c":1e400}""",
            """{"d":1}""",
            """{"a":1.50,"b":12345678901234567890.123456789012345678901234567890,"c":1e400,"d":1}"""),
        new(
            "number: nested",
            """{"o":{"a":1}}""",
            """{"o":{"a":2.50,"b":9007199254740993}}""",
            """{"o":{"a":2.50,"b":9007199254740993}}"""),

        // Booleans stay booleans, texts stay texts.
        new("type: booleans", """{"a":false}""", """{"a":true,"b":false,"c":{"d":true}}""", """{"a":true,"b":false,"c":{"d":true}}"""),
        new(
            "type: texts that look like something else",
            "{}",
            """{"a":"1","b":"true","c":"null","d":"{}","e":"[1]","f":""}""",
            """{"a":"1","b":"true","c":"null","d":"{}","e":"[1]","f":""}"""),
        new("type: text replaced by number and back", """{"a":"1","b":1}""", """{"a":1,"b":"1"}""", """{"a":1,"b":"1"}"""),

        // Keys.
        new("key: spaces", """{"x y":{"a b":1}}""", """{"x y":{"a b":2," ":3},"  ":4}""", """{"x y":{"a b":2," ":3},"  ":4}"""),
        new("key: dots", """{"a":{"b":1},"a.b":2}""", """{"a.b":3,"c.d":{"e.f":4}}""", """{"a":{"b":1},"a.b":3,"c.d":{"e.f":4}}"""),
        new("key: dollars", """{"$":{"$":1}}""", """{"$":{"$.a":2},"$$":3}""", """{"$":{"$":1,"$.a":2},"$$":3}"""),
        new(
            "key: brackets",
            """{"a":[1,2],"a[0]":3}""",
            """{"a[0]":4,"[1]":{"]":5},"{":6}""",
            """{"a":[1,2],"a[0]":4,"[1]":{"]":5},"{":6}"""),
        new(
            "key: apostrophes",
            """{"it's":{"o'clock":1}}""",
            """{"it's":{"o'clock":2},"'; DROP TABLE messages; --":3}""",
            """{"it's":{"o'clock":2},"'; DROP TABLE messages; --":3}"""),
        new(
            "key: words of the path language",
            "{}",
            """{"lax":1,"strict $":2,"append":{"lax $.a":3},"append $.b":4}""",
            """{"lax":1,"strict $":2,"append":{"lax $.a":3},"append $.b":4}"""),
        new("key: parameters' names", """{"@m0":{"@p":1}}""", """{"@m0":{"@m1":2},"@m2":3}""", """{"@m0":{"@p":1,"@m1":2},"@m2":3}"""),
        new(
            "key: slashes and tags",
            """{"a/b":{"x":1},"</script>":1}""",
            """{"a/b":{"y":2},"</script>":2,"//":3}""",
            """{"a/b":{"x":1,"y":2},"</script>":2,"//":3}"""),
        new(
            "key: percent, comma, colon, hash, star, question mark",
            "{}",
            """{"%":1,",":2,":":3,"#":4,"*":5,"?":6,"a:b,c":{"&<>":7}}""",
            """{"%":1,",":2,":":3,"#":4,"*":5,"?":6,"a:b,c":{"&<>":7}}"""),
        new("key: digits", """{"0":1,"1":{"0":2}}""", """{"0":3,"1":{"1":4},"-1":5}""", """{"0":3,"1":{"0":2,"1":4},"-1":5}"""),
        new(
            "key: Turkish letters",
            """{"görünüm":{"ışık":1}}""",
            """{"görünüm":{"şekil":"ğ"},"İstanbul":"ıİ"}""",
            """{"görünüm":{"ışık":1,"şekil":"ğ"},"İstanbul":"ıİ"}"""),
        new("key: Turkish i's are four keys", """{"i":1,"I":2,"ı":3,"İ":4}""", """{"i":5,"İ":6}""", """{"i":5,"I":2,"ı":3,"İ":6}"""),
        new(
            "key: case tells keys apart",
            """{"Title":{"A":1},"title":{"a":2}}""",
            """{"TITLE":3,"title":{"A":4},"Title":{"A":null}}""",
            """{"Title":{},"title":{"a":2,"A":4},"TITLE":3}"""),
        new("key: composed and decomposed accents are two keys", "{\"\u00e9\":1}", "{\"e\u0301\":2}", "{\"\u00e9\":1,\"e\u0301\":2}"),
        new("key: trailing blanks tell keys apart", """{"a":1}""", """{"a ":2}""", """{"a":1,"a ":2}"""),
        new("key: sharp s and ss, full and half width", """{"ß":1,"ａ":2}""", """{"ss":3,"a":4}""", """{"ß":1,"ａ":2,"ss":3,"a":4}"""),
        new("key: emoji", """{"🎨":{"👩‍🎨":1}}""", """{"🎨":{"👩‍🎨":null,"🖼️":2}}""", """{"🎨":{"🖼️":2}}"""),
        new(
            "key: zero-width and right-to-left",
            "{\"a\u200bb\":1}",
            "{\"ab\":2,\"\u202eab\":3}",
            "{\"a\u200bb\":1,\"ab\":2,\"\u202eab\":3}"),
        new(
            "key: 128 characters",
            $$$"""{"{{{new string('k', 128)}}}":1}""",
            $$$"""{"{{{new string('k', 128)}}}":2,"{{{new string('ş', 128)}}}":{"{{{new string('ğ', 128)}}}":3}}""",
            $$$"""{"{{{new string('k', 128)}}}":2,"{{{new string('ş', 128)}}}":{"{{{new string('ğ', 128)}}}":3}}"""),
        new("key: written with escapes", """{"a":1}""", """{"\u0061":2,"\u0131":3}""", """{"a":2,"ı":3}"""),

        // Texts.
        new(
            "text: Turkish, emoji, tags",
            "{}",
            """{"a":"şğıİüöç ŞĞ","b":"🎨👩‍🎨🇹🇷","c":"</script><!--","d":{"e":"şğ🎨</script>"}}""",
            """{"a":"şğıİüöç ŞĞ","b":"🎨👩‍🎨🇹🇷","c":"</script><!--","d":{"e":"şğ🎨</script>"}}"""),
        new(
            "text: quotes, backslashes, slashes",
            "{}",
            """{"a":"\"x\"","b":"\\","c":"a/b","d":"it's","e":"\\u0041","f":"\"}"}""",
            """{"a":"\"x\"","b":"\\","c":"a/b","d":"it's","e":"\\u0041","f":"\"}"}"""),
        new(
            "text: control characters",
            "{}",
            """{"a":"\b\f\n\r\t","b":"\u0000x\u0001\u001f\u007f","c":"\u2028\u2029"}""",
            """{"a":"\b\f\n\r\t","b":"\u0000x\u0001\u001f\u007f","c":"\u2028\u2029"}"""),
        new("text: blanks at the ends", "{}", """{"a":"  x  ","b":" "}""", """{"a":"  x  ","b":" "}"""),
        new("text: 4,000 and 4,001 characters", "{}", Texts("ş", 4000, 4001), Texts("ş", 4000, 4001)),
        new("text: 8,000 and 8,001 characters", """{"a":"short"}""", Texts("ğ", 8000, 8001), Texts("ğ", 8000, 8001)),
        new(
            "text: emoji across the 4,000th character",
            "{}",
            $$"""{"a":"{{new string('x', 3999)}}🎨"}""",
            $$"""{"a":"{{new string('x', 3999)}}🎨"}"""),
        new(
            "text: a long stored text stays",
            $$$"""{"a":"{{{new string('y', 20_000)}}}","o":{"t":"{{{new string('z', 9000)}}}"}}""",
            """{"o":{"p":1}}""",
            $$$"""{"a":"{{{new string('y', 20_000)}}}","o":{"t":"{{{new string('z', 9000)}}}","p":1}}"""),
        new("text: nearly a whole patch", "{}", $$"""{"a":"{{new string('x', 65_000)}}"}""", $$"""{"a":"{{new string('x', 65_000)}}"}"""),
    ];

    /// <summary>Objects nested <paramref name="levels"/> deep; an array at the bottom would be one level more.</summary>
    private static string Deep(int levels, string value)
    {
        var objects = value.StartsWith('[') ? levels - 1 : levels;
        return string.Concat(
            Enumerable.Range(1, objects).Select(level => string.Create(CultureInfo.InvariantCulture, $"{{\"level {level}\":")))
            + value + new string('}', objects);
    }

    private static string Wide(int from, int to) =>
        "{" + string.Join(
            ',', Enumerable.Range(from, to - from).Select(i => string.Create(CultureInfo.InvariantCulture, $"\"key {i}\":{i}"))) + "}";

    private static string Grid(int size, string first) =>
        "{" + string.Join(
            ',',
            Enumerable.Range(0, size).Select(
                i => string.Create(CultureInfo.InvariantCulture, $"\"k{i}\":{{{(i == 3 ? first : "")}{Wide(0, size)[1..]}"))) + "}";

    private static string Texts(string letter, int shorter, int longer) =>
        $$"""{"a":"{{string.Concat(Enumerable.Repeat(letter, shorter))}}","b":"{{string.Concat(Enumerable.Repeat(letter, longer))}}"}""";
}
