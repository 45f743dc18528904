using System.Reflection;
using NUnit.Framework;

namespace ImageQueue.Tests;

/// <summary>What a fixture costs. Each has exactly one: <c>dotnet test --filter TestCategory=Fast</c> runs the cheap ones alone.</summary>
internal static class Categories
{
    /// <summary>No server, database or files of its own; all of them together take less than 20 s.</summary>
    public const string Fast = "Fast";

    /// <summary>A SQLite file, a SQL Server or a folder.</summary>
    public const string Store = "Store";

    /// <summary>The app or a server within the test's process.</summary>
    public const string App = "App";

    /// <summary>Processes of their own: the app, a browser.</summary>
    public const string Process = "Process";

    /// <summary>Measures instead of asserting; always explicit.</summary>
    public const string Benchmark = "Benchmark";

    public static readonly IReadOnlyList<string> ByCost = [Fast, Store, App, Process];
}

[Category(Categories.Fast)]
internal sealed class CategoriesTests
{
    [Test]
    public void EachFixture_HasOneCategory()
    {
        var wrong = typeof(CategoriesTests).Assembly.GetTypes()
            .Where(type => !type.IsAbstract && type.GetMethods().Any(IsTest))
            .Where(type => !HasOneOf(type, Categories.ByCost) && !IsBenchmark(type));
        Assert.That(
            wrong.Select(type => type.FullName), Is.Empty,
            "fixtures without one of Fast, Store, App and Process, and benchmarks without a fixture source");
    }

    private static bool IsTest(MethodInfo method) =>
        method.GetCustomAttributes().Any(attribute => attribute is TestAttribute or TestCaseAttribute or TestCaseSourceAttribute);

    /// <summary>When a category is run, the adapter leaves out explicit fixtures that have no source.</summary>
    private static bool IsBenchmark(Type type) => HasOneOf(type, [Categories.Benchmark])
        && type.IsDefined(typeof(ExplicitAttribute))
        && type.IsDefined(typeof(TestFixtureSourceAttribute));

    private static bool HasOneOf(Type type, IReadOnlyList<string> categories) =>
        type.GetCustomAttributes<CategoryAttribute>().Count(category => categories.Contains(category.Name)) == 1;
}
