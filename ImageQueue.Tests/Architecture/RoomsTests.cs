using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using ImageQueue.Core;
using ImageQueue.Tests.Support;
using ImageQueue.Web;
using NUnit.Framework;

namespace ImageQueue.Tests.Architecture;

/// <summary>Rooms are the folders of Core and Web: calls between them go one way, and what Web does not name is internal.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed partial class RoomsTests
{
    private static readonly Assembly Core = typeof(CoreServices).Assembly;
    private static readonly Assembly Web = typeof(WebServices).Assembly;

    [Test]
    public void Core_NamesNothingOfWeb() =>
        Assert.That(TypeReferences.Of(Core).Where(one => one.To.StartsWith("ImageQueue.Web", StringComparison.Ordinal)), Is.Empty);

    [TestCase("ImageQueue.Core")]
    [TestCase("ImageQueue.Web")]
    public void Rooms_HaveNoCycles(string project)
    {
        var references = TypeReferences.Of(project == "ImageQueue.Core" ? Core : Web)
            .Select(one => (one.From, one.To, FromRoom: RoomOf(one.From, project), ToRoom: RoomOf(one.To, project)))
            .Where(one => one.FromRoom is not null && one.ToRoom is not null && one.FromRoom != one.ToRoom)
            .ToList();
        var reach = Closure(references.Select(one => (one.FromRoom!, one.ToRoom!)));
        var cyclic = references.Where(one => reach.Contains((one.ToRoom!, one.FromRoom!)))
            .Select(one => $"{one.FromRoom} -> {one.ToRoom}: {ShortName(one.From)} names {ShortName(one.To)}")
            .Order(StringComparer.Ordinal)
            .ToList();

        Assert.That(cyclic, Is.Empty, string.Join('\n', cyclic));
    }

    [Test]
    public void TypesOfCore_AreInternal_WhenWebDoesNotNameThem()
    {
        var words = Repository.Sources("ImageQueue.Web", "*.cs", "*.cshtml")
            .SelectMany(File.ReadLines)
            .Where(line => !line.TrimStart().StartsWith("//", StringComparison.Ordinal))
            .SelectMany(line => Word().Matches(line).Select(match => match.Value))
            .ToHashSet(StringComparer.Ordinal);
        var exported = Core.GetExportedTypes().Where(type => !type.IsNested).ToList();
        var needed = new HashSet<Type>();
        var open = new Stack<Type>(
            exported.Where(type => words.Contains(PlainName(type)) || IsSeenByHangfire(type) || HasExtensionsThatAreNamed(type, words)));
        while (open.TryPop(out var type))
        {
            if (type.Assembly == Core && needed.Add(Outermost(type)))
            {
                foreach (var shown in Shown(Outermost(type)))
                    open.Push(shown);
            }
        }

        var surplus = exported.Where(type => !needed.Contains(type)).Select(type => type.FullName).Order(StringComparer.Ordinal).ToList();
        Assert.That(surplus, Is.Empty, string.Join('\n', surplus));
    }

    /// <summary>A record's constructor lists values; one of a service lists what it depends on.</summary>
    [Test]
    public void Constructors_HaveAtMostEightParameters()
    {
        var tooLong = new[] { Core, Web }.SelectMany(assembly => assembly.GetTypes())
            .Where(type => !type.IsDefined(typeof(CompilerGeneratedAttribute)) && type.GetMethod("<Clone>$") is null)
            .SelectMany(type => type.GetConstructors(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
            .Where(constructor => constructor.GetParameters().Length > 8)
            .Select(constructor => $"{constructor.DeclaringType!.FullName}: {constructor.GetParameters().Length}")
            .Order(StringComparer.Ordinal)
            .ToList();

        Assert.That(tooLong, Is.Empty, string.Join('\n', tooLong));
    }

    /// <summary>The folder of a type; null for what stands above all rooms, such as the registrations.</summary>
    private static string? RoomOf(string type, string project)
    {
        if (!type.StartsWith($"{project}.", StringComparison.Ordinal))
            return null;
        var parts = type[(project.Length + 1)..].Split('.');
        return parts.Length > 1 ? parts[0] : null;
    }

    private static HashSet<(string, string)> Closure(IEnumerable<(string From, string To)> edges)
    {
        var reach = edges.ToHashSet();
        for (var before = -1; before != reach.Count;)
        {
            before = reach.Count;
            reach.UnionWith(reach.Join(reach, one => one.To, two => two.From, (one, two) => (one.From, two.To)).ToList());
        }

        return reach;
    }

    /// <summary>Hangfire serializes a job's type and reads its attributes.</summary>
    private static bool IsSeenByHangfire(Type type) =>
        type.GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly)
        .Any(
            method =>
                method.GetCustomAttributesData().Any(
                    one => one.AttributeType.Namespace?.StartsWith("Hangfire", StringComparison.Ordinal) == true));

    private static bool HasExtensionsThatAreNamed(Type type, HashSet<string> words) => type.IsDefined(typeof(ExtensionAttribute))
        && type.GetMethods(BindingFlags.Static | BindingFlags.Public).Any(method => method.IsDefined(typeof(ExtensionAttribute))
            && words.Contains(method.Name));

    /// <summary>What must be public because this type's members show it.</summary>
    private static IEnumerable<Type> Shown(Type type)
    {
        const BindingFlags All =
            BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
        var shown = new List<Type?> { type.BaseType };
        shown.AddRange(type.GetInterfaces());
        shown.AddRange(
            type.GetFields(All).Where(field => field.IsPublic
                || field.IsFamily
                || field.IsFamilyOrAssembly).Select(field => field.FieldType));
        foreach (var method in type.GetMethods(All).Cast<MethodBase>().Concat(type.GetConstructors(All)).Where(
            one => one.IsPublic || one.IsFamily || one.IsFamilyOrAssembly))
        {
            shown.AddRange(method.GetParameters().Select(parameter => parameter.ParameterType));
            shown.Add((method as MethodInfo)?.ReturnType);
        }

        shown.AddRange(type.GetNestedTypes());
        return shown.SelectMany(Parts).Concat(type.GetNestedTypes().SelectMany(Shown));
    }

    private static IEnumerable<Type> Parts(Type? type) => type switch
    {
        null => [],
        { HasElementType: true } => Parts(type.GetElementType()),
        { IsConstructedGenericType: true } => type.GetGenericArguments().SelectMany(Parts).Append(type.GetGenericTypeDefinition()),
        _ => [type],
    };

    private static Type Outermost(Type type) => type.DeclaringType is { } outer ? Outermost(outer) : type;

    private static string PlainName(Type type) => type.Name.Split('`')[0];

    private static string ShortName(string fullName) => fullName[(fullName.LastIndexOf('.') + 1)..];

    [GeneratedRegex(@"\w+")]
    private static partial Regex Word();
}
