using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Messages.Sqlite;

/// <summary>The tables of the embedded store. Its version is SQLite's own <c>user_version</c>.</summary>
internal static class SqliteSchema
{
    /// <summary>What this release reads and writes.</summary>
    public const int Version = 1;

    /// <summary>Creates what is missing. Safe to run at every start and beside another process.</summary>
    /// <exception cref="InvalidOperationException">The file was written by a newer release.</exception>
    public static void Apply(SqliteConnection connection)
    {
        connection.Execute("BEGIN IMMEDIATE");
        var version = connection.ExecuteScalar<int>("PRAGMA user_version");
        if (version > Version)
        {
            connection.Execute("ROLLBACK");
            throw new InvalidOperationException(
                $"The database {connection.DataSource} was written by a newer ImageQueue (schema {version}, this one knows {Version}). Start the newer release, or name another file in ConnectionStrings:ImageQueue.");
        }

        if (version < Version)
        {
            connection.Execute(Tables);
            connection.Execute($"PRAGMA user_version = {Version}");
        }

        connection.Execute("COMMIT");
    }

    // An image message is one with queued_at: a plain message may carry a "status" of the chat app's own.
    private const string Tables =
        """
        CREATE TABLE conversations (
            id         TEXT NOT NULL PRIMARY KEY,
            username   TEXT NOT NULL,
            title      TEXT,
            created_at TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE messages (
            id              INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id TEXT NOT NULL REFERENCES conversations (id),
            role            TEXT NOT NULL CHECK (role IN ('user', 'bot')),
            content         TEXT NOT NULL,
            extra_metadata  TEXT CHECK (json_valid(extra_metadata)),
            created_at      TEXT NOT NULL,
            updated_at      TEXT NOT NULL,
            hangfire_job_id TEXT,
            idempotency_key TEXT,
            attempt         INTEGER NOT NULL DEFAULT 0,
            heartbeat_at    TEXT,
            queued_at       TEXT,
            revision        INTEGER NOT NULL,
            status          TEXT GENERATED ALWAYS AS (extra_metadata ->> '$.status') VIRTUAL,
            job_id          TEXT GENERATED ALWAYS AS (extra_metadata ->> '$.job_id') VIRTUAL
        );

        CREATE INDEX ix_conversations_username ON conversations (username);
        CREATE UNIQUE INDEX ix_messages_revision ON messages (revision);
        CREATE INDEX ix_messages_conversation ON messages (conversation_id, id);
        CREATE INDEX ix_messages_conversation_status ON messages (conversation_id, status) WHERE queued_at IS NOT NULL;
        CREATE UNIQUE INDEX ix_messages_idempotency_key ON messages (conversation_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
        CREATE INDEX ix_messages_status ON messages (status, queued_at, id) WHERE queued_at IS NOT NULL;
        CREATE INDEX ix_messages_job_id ON messages (job_id) WHERE queued_at IS NOT NULL;
        CREATE INDEX ix_messages_hangfire_job_id ON messages (hangfire_job_id) WHERE hangfire_job_id IS NOT NULL;
        """;
}
