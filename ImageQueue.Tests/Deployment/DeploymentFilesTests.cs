using System.Reflection;
using System.Text.RegularExpressions;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Support;
using ImageQueue.Web;
using Microsoft.Extensions.Configuration;
using NUnit.Framework;

namespace ImageQueue.Tests.Deployment;

/// <summary>
/// What can be known of the deployment's files without a container: they can be read, name settings and paths that there are, and
/// agree with the app and with one another. <see cref="PublishedTests"/> holds that the paths which they ask are answered.
/// </summary>
[Category(Categories.Fast)]
internal sealed partial class DeploymentFilesTests
{
    private const string Port = "8080";

    private static readonly string[] Instances = ["imagequeue-1", "imagequeue-2"];

    /// <summary>What is no section of ImageQueue's own.</summary>
    private static readonly string[] OfTheFramework = ["ConnectionStrings", "Urls", "AllowedHosts", "Logging", "ASPNETCORE_ENVIRONMENT"];

    private static readonly Dictionary<string, Type> Sections = new[] { typeof(IMessageStore).Assembly, typeof(WebServices).Assembly }
        .SelectMany(assembly => assembly.GetTypes())
        .Select(type => (type, name: type.GetField("Section", BindingFlags.Public | BindingFlags.Static)?.GetRawConstantValue() as string))
        .Where(section => section.name is not null)
        .ToDictionary(section => section.name!, section => section.type);

    private static IEnumerable<string> Files =>
        [
            DeploymentFile.Dockerfile,
            DeploymentFile.Unit,
            DeploymentFile.UnitSettings,
            DeploymentFile.Kustomization,
            DeploymentFile.Schema,
            "imagequeue",
            .. Instances,
            "schema"];

    private static IEnumerable<string> Folders =>
        Directory.GetFiles(Path.Combine(Repository.Root, "deploy", "kubernetes"))
            .Select(path => Path.GetFileName(path))
            .Where(name => name != "kustomization.yaml");

    private static Node Pod => DeploymentFile.Yaml("deploy/kubernetes/deployment.yaml")["spec"]["template"]["spec"];

    private static Node Container => Pod["containers"].Items.Single();

    /// <summary>A name that nothing reads, or a value that cannot be read, is found here and not at the start.</summary>
    [TestCaseSource(nameof(Files))]
    public void Settings_AreKnown_AndReadable(string file)
    {
        var settings = DeploymentFile.Settings(file);

        Assert.That(settings, Is.Not.Empty);
        Assert.That(Unknown(settings), Is.Empty);
    }

    /// <summary>The test above must be able to fail.</summary>
    [TestCase("Shutdown__DrainTime", "00:01:00")]
    [TestCase("Shutdown__DrainTimeout", "a minute")]
    [TestCase("Forge__Backends__0__Adress", "http://gpu1")]
    [TestCase("Auth__ApiKeys__0__Hash", "x")]
    [TestCase("Shutdwon__DrainTimeout", "00:01:00")]
    public void Unknown_IsFound(string name, string value) => Assert.That(Unknown(new() { [name] = value }), Is.Not.Empty);

    /// <summary>
    /// The time-outs of Kubernetes, systemd and compose are longer than the app's stop; otherwise only the sweep would find its jobs.
    /// </summary>
    [Test]
    public void StopTimeouts_AreLonger_ThanTheAppTakesToStop()
    {
        var preStop = DeploymentFile.Seconds(Container["lifecycle"]["preStop"]["sleep"]["seconds"].Text);

        Assert.That(
            DeploymentFile.Seconds(Pod["terminationGracePeriodSeconds"].Text),
            Is.GreaterThan(preStop + StopTime(DeploymentFile.Kustomization)));
        Assert.That(DeploymentFile.Seconds(DeploymentFile.OneOfUnit("TimeoutStopSec")), Is.GreaterThan(StopTime(DeploymentFile.Unit)));
        foreach (var service in Instances.Append("imagequeue"))
        {
            Assert.That(
                DeploymentFile.Seconds(DeploymentFile.Yaml(DeploymentFile.Compose)["services"][service]["stop_grace_period"].Text),
                Is.GreaterThan(StopTime(service)),
                service);
        }
    }

    /// <summary>One port, from the image to the client.</summary>
    [Test]
    public void Ports_AreTheImages()
    {
        var services = DeploymentFile.Yaml(DeploymentFile.Compose)["services"];

        Assert.That(
            new Uri(DeploymentFile.Settings(DeploymentFile.Dockerfile)["Urls"].Replace("+", "any", StringComparison.Ordinal))
                .Port.ToString(CultureInfo.InvariantCulture),
            Is.EqualTo(Port));
        Assert.That(DeploymentFile.Instructions("EXPOSE"), Is.EqualTo(new[] { Port }));
        Assert.That(Container["ports"].Items.Single()["containerPort"].Text, Is.EqualTo(Port));
        Assert.That(services["imagequeue"]["ports"].Items.Single().Text, Is.EqualTo($"127.0.0.1:5080:{Port}"));
        Assert.That(services["proxy"]["ports"].Items.Single().Text, Is.EqualTo("127.0.0.1:5080:8080"));
        Assert.That(
            DeploymentFile.Text(DeploymentFile.Caddyfile),
            Does.Contain("\n:8080 {").And.Contain($"to {string.Join(' ', Instances.Select(instance => $"{instance}:{Port}"))}\n"));
    }

    /// <summary>Live is not ready: a process is not killed because its database is away.</summary>
    [Test]
    public void Probes_UseLiveAndReady()
    {
        Assert.That(Container["startupProbe"]["httpGet"]["path"].Text, Is.EqualTo("/health/live"));
        Assert.That(Container["livenessProbe"]["httpGet"]["path"].Text, Is.EqualTo("/health/live"));
        Assert.That(Container["readinessProbe"]["httpGet"]["path"].Text, Is.EqualTo("/health/ready"));
        Assert.That(Container["ports"].Items.Single()["name"].Text, Is.EqualTo(Container["livenessProbe"]["httpGet"]["port"].Text));
        Assert.That(DeploymentFile.Text(DeploymentFile.Caddyfile), Does.Contain("health_uri /health/ready"));
        Assert.That(
            DeploymentFile.Instructions("HEALTHCHECK").Single(),
            Does.EndWith("""CMD ["dotnet", "ImageQueue.Web.dll", "health"]"""),
            "the image has no curl");
    }

    /// <summary>What the image is made of is there, and it is not run by root.</summary>
    [Test]
    public void Dockerfile_CopiesExistingFiles_AndRunsAsTheImagesUser()
    {
        var copied = CopyLine()
            .Matches(DeploymentFile.Text(DeploymentFile.Dockerfile))
            .SelectMany(line => line.Groups["what"].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries)[..^1])
            .ToList();

        Assert.That(copied, Has.Count.GreaterThan(5));
        Assert.That(copied.Where(path => !Path.Exists(Path.Combine(Repository.Root, path))), Is.Empty);
        Assert.That(Directory.GetFiles(Repository.Root, "*.props").Select(path => Path.GetFileName(path)), Is.SubsetOf(copied));
        Assert.That(DeploymentFile.Instructions("USER").Single(), Is.EqualTo("$APP_UID"));
        Assert.That(DeploymentFile.Instructions("VOLUME").Single(), Is.EqualTo("/data"));
    }

    /// <summary>Each form stands alone, and names what there is.</summary>
    [TestCase("sqlite", "imagequeue")]
    [TestCase("sqlserver", "sqlserver", "schema", "imagequeue-1", "imagequeue-2", "proxy")]
    public void Compose_HasTheProfile(string profile, params string[] expected)
    {
        var compose = DeploymentFile.Yaml(DeploymentFile.Compose);
        var services = compose["services"]
            .Children.Where(service => service.Value["profiles"].Items.Any(item => item.Text == profile))
            .ToList();

        Assert.That(services.Select(service => service.Key), Is.EqualTo(expected));
        foreach (var (name, service) in services)
        {
            var needed = service["depends_on"]
                .Items.Select(item => item.Text)
                .Concat(service["depends_on"].Children.Select(pair => pair.Key));
            Assert.That(needed, Is.SubsetOf(expected), name);
            foreach (var source in service["volumes"].Items.Select(volume => volume.Text.Split(':')[0]))
            {
                Assert.That(
                    source.StartsWith('.')
                        ? File.Exists(Path.Combine(Repository.Root, source))
                        : compose["volumes"].Children.Any(volume => volume.Key == source),
                    source);
            }

            if (service["build"].IsThere)
            {
                Assert.That(
                    (service["build"]["dockerfile"].Text, service["read_only"].Text),
                    Is.EqualTo((DeploymentFile.Dockerfile, "true")),
                    name);
            }
        }
    }

    /// <summary>Two instances on a database that neither of them changes: the schema is made before.</summary>
    [Test]
    public void Compose_AppliesTheSchemaFirst_AndTrustsItsProxyOnly()
    {
        var compose = DeploymentFile.Yaml(DeploymentFile.Compose);
        var network = compose["networks"]["default"]["ipam"]["config"].Items.Single()["subnet"].Text;

        Assert.That(compose["services"]["schema"]["command"].Items.Select(word => word.Text), Is.EqualTo(new[] { "schema", "apply" }));
        foreach (var instance in Instances)
        {
            var settings = DeploymentFile.Settings(instance);
            Assert.That(
                (settings["Storage__Provider"], settings["Storage__ApplySchema"], settings["Auth__Proxies__0"]),
                Is.EqualTo(("SqlServer", "false", network)));
            Assert.That(
                compose["services"][instance]["depends_on"]["schema"]["condition"].Text, Is.EqualTo("service_completed_successfully"));
        }
    }

    /// <summary>Any user but root, on a file system that is read-only but for images and temporary files.</summary>
    [Test]
    public void Kubernetes_RunsWithoutPrivileges()
    {
        var jobs = DeploymentFile.Yaml(DeploymentFile.Schema)["spec"]["template"]["spec"];
        foreach (var pod in new[] { Pod, jobs })
        {
            var container = pod["containers"].Items.Single();
            Assert.That(
                (pod["securityContext"]["runAsNonRoot"].Text, pod["securityContext"]["runAsUser"].Text), Is.EqualTo(("true", "1654")));
            Assert.That(
                (
                    container["securityContext"]["readOnlyRootFilesystem"].Text,
                    container["securityContext"]["allowPrivilegeEscalation"].Text),
                Is.EqualTo(("true", "false")));
            Assert.That(container["securityContext"]["capabilities"]["drop"].Items.Select(item => item.Text), Is.EqualTo(new[] { "ALL" }));
            Assert.That(
                container["volumeMounts"].Items.Select(mount => mount["name"].Text),
                Is.EquivalentTo(pod["volumes"].Items.Select(volume => volume["name"].Text)));
        }

        var written = Container["volumeMounts"].Items.Select(mount => mount["mountPath"].Text).ToList();
        Assert.That(
            written,
            Does.Contain("/tmp").And.Some.EqualTo(
                Path.GetDirectoryName(DeploymentFile.Settings(DeploymentFile.Kustomization)["Images__Directory"])));
    }

    /// <summary>Two instances that find their volume, and a service that finds them.</summary>
    [Test]
    public void Kubernetes_HasTwoInstances_WithOneFolderOfImages()
    {
        var deployment = DeploymentFile.Yaml("deploy/kubernetes/deployment.yaml");
        var claim = DeploymentFile.Yaml("deploy/kubernetes/images.yaml");
        var labels = deployment["spec"]["template"]["metadata"]["labels"].Children.Select(label => (label.Key, label.Value.Text)).ToList();

        Assert.That(deployment["spec"]["replicas"].Text, Is.EqualTo("2"));
        Assert.That(claim["spec"]["accessModes"].Items.Single().Text, Is.EqualTo("ReadWriteMany"));
        Assert.That(Pod["volumes"].Items.First()["persistentVolumeClaim"]["claimName"].Text, Is.EqualTo(claim["metadata"]["name"].Text));
        foreach (var selector in new[]
        {
            deployment["spec"]["selector"]["matchLabels"],
            DeploymentFile.Yaml("deploy/kubernetes/service.yaml")["spec"]["selector"],
            DeploymentFile.Yaml("deploy/kubernetes/disruption.yaml")["spec"]["selector"]["matchLabels"],
        })
        {
            Assert.That(selector.Children.Select(label => (label.Key, label.Value.Text)), Is.Not.Empty.And.EquivalentTo(labels));
        }

        var settings = DeploymentFile.Settings(DeploymentFile.Kustomization);
        Assert.That((settings["Storage__Provider"], settings["Storage__ApplySchema"]), Is.EqualTo(("SqlServer", "false")));
        Assert.That(
            DeploymentFile.Yaml(DeploymentFile.Schema)["spec"]["template"]["spec"]["containers"]
                .Items.Single()["args"]
                .Items.Select(word => word.Text),
            Is.EqualTo(new[] { "schema", "apply" }));
    }

    /// <summary>No file is forgotten, and all that go out go out together.</summary>
    [Test]
    public void Kustomization_NamesEveryFile_ButTheSchemas()
    {
        var kustomization = DeploymentFile.Yaml(DeploymentFile.Kustomization);
        var image = kustomization["images"].Items.Single();

        Assert.That(kustomization["resources"].Items.Select(item => item.Text), Is.EquivalentTo(Folders.Except(["schema.yaml"])));
        Assert.That(Container["image"].Text, Is.EqualTo(image["name"].Text));
        Assert.That(
            DeploymentFile.Yaml(DeploymentFile.Schema)["spec"]["template"]["spec"]["containers"].Items.Single()["image"].Text,
            Is.EqualTo($"{image["newName"]}:{image["newTag"]}"),
            "the schema is of the same release");
    }

    /// <summary>A user who owns nothing but its state, where it works.</summary>
    [Test]
    public void Unit_RunsInItsStateDirectory_AsADynamicUser()
    {
        var state = DeploymentFile.OneOfUnit("StateDirectory");

        Assert.That(DeploymentFile.OneOfUnit("WorkingDirectory"), Is.EqualTo($"%S/{state}"));
        Assert.That(
            (
                DeploymentFile.OneOfUnit("DynamicUser"),
                DeploymentFile.OneOfUnit("ProtectSystem"),
                DeploymentFile.OneOfUnit("NoNewPrivileges")),
            Is.EqualTo(("yes", "strict", "yes")));
        Assert.That(DeploymentFile.OneOfUnit("Type"), Is.EqualTo("notify"), "PublishedTests holds that it notifies");
        Assert.That(DeploymentFile.OneOfUnit("ExecStart"), Does.EndWith("/ImageQueue.Web.dll"));
        Assert.That(DeploymentFile.OfUnit("MemoryDenyWriteExecute"), Is.Empty, "a just-in-time compiler does not run with it");
    }

    /// <summary>How long the app may take to stop, with the file's own settings.</summary>
    private static TimeSpan StopTime(string file) =>
        (Configuration(DeploymentFile.Settings(file)).GetSection(ShutdownOptions.Section).Get<ShutdownOptions>() ?? new ShutdownOptions())
            .HostTimeout;

    private static List<string> Unknown(Dictionary<string, string> settings)
    {
        var problems = new List<string>();
        var configuration = Configuration(settings);
        foreach (var section in configuration.GetChildren().Where(section => !OfTheFramework.Contains(section.Key)))
        {
            if (!Sections.TryGetValue(section.Key, out var type))
            {
                problems.Add($"{section.Key}: no such section");
                continue;
            }

            try
            {
                section.Get(type, options => options.ErrorOnUnknownConfiguration = true);
            }
            catch (InvalidOperationException e)
            {
                problems.Add($"{section.Key}: {e.Message}");
            }
        }

        return problems;
    }

    private static IConfigurationRoot Configuration(Dictionary<string, string> settings) => new ConfigurationBuilder()
        .AddInMemoryCollection(
            settings.Select(
                setting => KeyValuePair.Create(setting.Key.Replace("__", ":", StringComparison.Ordinal), (string?)setting.Value)))
        .Build();

    [GeneratedRegex(@"^COPY (?!--from)(?<what>.+)$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex CopyLine();
}
