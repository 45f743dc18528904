using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>The store's contract on SQLite.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteMessageStoreTests() : MessageStoreContract(isOnSqlServer: false);
