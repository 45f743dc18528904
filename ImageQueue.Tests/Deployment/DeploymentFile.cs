using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using YamlDotNet.Core;
using YamlDotNet.Serialization;

namespace ImageQueue.Tests.Deployment;

/// <summary>The files that say how ImageQueue is deployed, read as what they are for would read them.</summary>
internal static partial class DeploymentFile
{
    public const string Dockerfile = "ImageQueue.Web/Dockerfile";
    public const string Compose = "compose.yaml";
    public const string Caddyfile = "deploy/proxy/Caddyfile";
    public const string Unit = "deploy/systemd/imagequeue.service";
    public const string UnitSettings = "deploy/systemd/imagequeue.env";
    public const string Kustomization = "deploy/kubernetes/kustomization.yaml";
    public const string Schema = "deploy/kubernetes/schema.yaml";

    public static string Text(string path) => File.ReadAllText(Path.Combine(Repository.Root, path));

    /// <summary>A YAML file, its anchors and merges resolved.</summary>
    public static Node Yaml(string path)
    {
        using var reader = new StringReader(Text(path));
        return new Node(new DeserializerBuilder().Build().Deserialize<object>(new MergingParser(new Parser(reader))));
    }

    /// <summary>An instruction of the Dockerfile, continued lines joined, of its last stage.</summary>
    public static IEnumerable<string> Instructions(string name) =>
        Text(Dockerfile).ReplaceLineEndings("\n").Replace("\\\n", "", StringComparison.Ordinal)
        .Split("\nFROM ")[^1].Split('\n')
        .Where(line => line.StartsWith(name + " ", StringComparison.Ordinal))
        .Select(line => line[(name.Length + 1)..].Trim());

    /// <summary>The values of a key of the systemd unit.</summary>
    public static IEnumerable<string> OfUnit(string key) =>
        Lines(Unit).Where(line => line.StartsWith(key + "=", StringComparison.Ordinal)).Select(line => line[(key.Length + 1)..]);

    /// <summary>The only value of a key of the systemd unit.</summary>
    public static string OneOfUnit(string key) => OfUnit(key).Single();

    /// <summary>What each file puts into the app's environment.</summary>
    public static Dictionary<string, string> Settings(string file) => file switch
    {
        Dockerfile =>
            Instructions("ENV").SelectMany(line => Assignment().Matches(line)).ToDictionary(
                match => match.Groups["name"].Value, match => match.Groups["value"].Value.Trim('"')),
        Unit => Pairs(OfUnit("Environment")),
        UnitSettings => Pairs(Lines(UnitSettings)),
        Kustomization =>
            Pairs(Yaml(Kustomization)["configMapGenerator"].Items.SelectMany(map => map["literals"].Items).Select(literal => literal.Text)
            .Concat(
                Secret().Matches(Text(Kustomization)).Select(match => match.Groups["pair"].Value).DistinctBy(pair => pair.Split('=')[0]))),
        Schema =>
            Yaml(Schema)["spec"]["template"]["spec"]["containers"].Items.Single()["env"].Items.ToDictionary(
                variable => variable["name"].Text, variable => variable["value"].Text),
        _ => Yaml(Compose)["services"][file]["environment"].Children.ToDictionary(
            pair => pair.Key, pair => Variable().Replace(pair.Value.Text, "${default}")),
    };

    /// <summary>As "90", "30s", "1m" say it.</summary>
    public static TimeSpan Seconds(string text) => text[^1] switch
    {
        'm' => TimeSpan.FromMinutes(int.Parse(text[..^1], CultureInfo.InvariantCulture)),
        's' => TimeSpan.FromSeconds(int.Parse(text[..^1], CultureInfo.InvariantCulture)),
        _ => TimeSpan.FromSeconds(int.Parse(text, CultureInfo.InvariantCulture)),
    };

    private static IEnumerable<string> Lines(string path) =>
        Text(path).Split('\n').Select(line => line.Trim().TrimStart('#')).Where(line => Name().IsMatch(line));

    private static Dictionary<string, string> Pairs(IEnumerable<string> pairs) =>
        pairs.Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);

    // A setting that is switched off by a # is one all the same.
    [GeneratedRegex(@"^\w+=", RegexOptions.CultureInvariant)]
    private static partial Regex Name();

    [GeneratedRegex("""(?<name>\w+)=(?<value>"[^"]*"|\S+)""", RegexOptions.CultureInvariant)]
    private static partial Regex Assignment();

    [GeneratedRegex(@"--from-literal=(?<pair>\w+=\S+)", RegexOptions.CultureInvariant)]
    private static partial Regex Secret();

    // ${NAME:-default}, ${NAME:?what to say}
    [GeneratedRegex(@"\$\{\w+:(-(?<default>[^}]*)|\?[^}]*)\}", RegexOptions.CultureInvariant)]
    private static partial Regex Variable();
}

/// <summary>A part of a YAML file; what is not there has no text and no children.</summary>
internal sealed class Node(object? value)
{
    public Node this[string key] => new(value is Dictionary<object, object> map && map.TryGetValue(key, out var child) ? child : null);

    public bool IsThere => value is not null;

    public string Text => value as string ?? "";

    public IEnumerable<Node> Items => value is List<object> list ? list.Select(item => new Node(item)) : [];

    public IEnumerable<(string Key, Node Value)> Children =>
        value is Dictionary<object, object> map ? map.Select(pair => ((string)pair.Key, new Node(pair.Value))) : [];

    public override string ToString() => Text;
}
