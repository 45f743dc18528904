using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Builders;

namespace ImageQueue.Tests.Support;

/// <summary>
/// A fixture that needs a SQL Server. Where none is given it has no tests: <see cref="SqlServerTests"/> says so once for all.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class SqlServerFixtureAttribute : NUnitAttribute, IFixtureBuilder2
{
    public IEnumerable<TestSuite> BuildFrom(ITypeInfo typeInfo) => BuildFrom(typeInfo, new Everything());

    public IEnumerable<TestSuite> BuildFrom(ITypeInfo typeInfo, IPreFilter filter) =>
        [SqlServerStoreDatabase.IsGiven ? new NUnitTestFixtureBuilder().BuildFrom(typeInfo, filter) : new TestFixture(typeInfo)];

    private sealed class Everything : IPreFilter
    {
        public bool IsMatch(Type type) => true;

        public bool IsMatch(Type type, System.Reflection.MethodInfo method) => true;
    }
}

/// <summary>The one line of all tests that need a SQL Server.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class SqlServerTests
{
    [Test]
    public void AreRun_OnTheServerThatTheVariableNames()
    {
        if (!SqlServerStoreDatabase.IsGiven)
        {
            Assert.Ignore(
                $"Set {SqlServerStoreDatabase.Variable} to the connection string of a SQL Server (2017 or later) whose login may create "
                    + $"databases, such as \"Server=localhost;User ID=sa;Password=...;TrustServerCertificate=True\", to run the tests "
                        + $"that need one.");
        }

        var fixtures = typeof(SqlServerTests).Assembly.GetTypes().Where(type => type.IsDefined(typeof(SqlServerFixtureAttribute), false));
        Assert.That(fixtures, Is.Not.Empty);
    }
}
