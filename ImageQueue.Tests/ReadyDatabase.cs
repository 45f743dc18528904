using ImageQueue.Core.Hosting;

namespace ImageQueue.Tests;

internal static class ReadyDatabase
{
    extension(DatabaseReadiness)
    {
        /// <summary>A database that is ready already, for services that run without a host.</summary>
        public static DatabaseReadiness Completed()
        {
            var readiness = new DatabaseReadiness();
            readiness.Set();
            return readiness;
        }
    }
}
