using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>The store's contract on SQL Server, where one is given.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
public sealed class SqlServerMessageStoreTests() : MessageStoreContract(isOnSqlServer: true);
