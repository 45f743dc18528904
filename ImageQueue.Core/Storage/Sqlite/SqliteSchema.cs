using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>The tables of the embedded store. Its version is SQLite's own <c>user_version</c>.</summary>
internal static class SqliteSchema
{
    /// <summary>What this release reads and writes.</summary>
    public static int Version => Steps.Length;

    /// <summary>What made a version, from 1 on, of the one before.</summary>
    internal static string StepTo(int version) => Steps[version - 1];

    /// <summary>Creates what is missing, or only checks. Safe to run at every start and beside another process.</summary>
    /// <exception cref="SchemaException">The tables are missing and may not be created, or are of a newer release.</exception>
    public static void Prepare(SqliteConnection connection, bool apply)
    {
        var version = connection.ExecuteScalar<int>("PRAGMA user_version");
        if (version == Version)
            return;
        if (version > Version)
        {
            throw new SchemaException(
                $"The database {connection.DataSource} was written by a newer ImageQueue (schema {version}, this one knows {Version}). Start the newer release, or name another file in ConnectionStrings:ImageQueue.");
        }

        if (!apply)
        {
            throw new SchemaException(
                version == 0
                    ? $"The database {connection.DataSource} has no ImageQueue tables. Set Storage:ApplySchema to true to have them created, or correct ConnectionStrings:ImageQueue."
                    : $"The database {connection.DataSource} was written by an older ImageQueue (schema {version}, this one needs {Version}). Make a copy of it, then set Storage:ApplySchema to true to have it changed.");
        }

        using var transaction = connection.BeginTransaction(deferred: false);
        // Read again under the lock: another process may have been quicker.
        for (version = connection.ExecuteScalar<int>("PRAGMA user_version"); version < Version; version++)
        {
            connection.Execute(Steps[version]);
            connection.Execute($"PRAGMA user_version = {version + 1}");
        }

        transaction.Commit();
    }

    /// <summary>What made each version of the one before. Never edit a step that was released; add another.</summary>
    private static readonly string[] Steps = [Tables, Recovery, ManyRequests, Idempotency, Operators, Erasing, History, Overview, Disruptions];

    private const string Disruptions = "ALTER TABLE messages ADD COLUMN disruptions INTEGER NOT NULL DEFAULT 0;";

    private const string History = "ALTER TABLE messages ADD COLUMN history TEXT;";

    private const string Overview =
        """
        CREATE TABLE moments (
            at      TEXT NOT NULL,
            kind    TEXT NOT NULL,
            code    TEXT,
            seconds REAL
        );

        CREATE INDEX ix_moments_at ON moments (at);

        CREATE TABLE history (
            hour   TEXT NOT NULL,
            kind   TEXT NOT NULL,
            code   TEXT NOT NULL,
            count  INTEGER NOT NULL,
            median REAL,
            high   REAL,
            PRIMARY KEY (hour, kind, code)
        ) WITHOUT ROWID;
        """;

    private const string Operators =
        """
        CREATE TABLE pauses (
            name      TEXT NOT NULL PRIMARY KEY,
            paused_by TEXT NOT NULL,
            paused_at TEXT NOT NULL
        ) WITHOUT ROWID;
        """;

    private const string Idempotency = "ALTER TABLE messages ADD COLUMN request_hash TEXT;";

    // A plain message may carry a "status" of the chat app's own, so that a column tells what was erased.
    private const string Erasing =
        """
        ALTER TABLE messages ADD COLUMN deleted_at TEXT;

        CREATE INDEX ix_messages_deleted ON messages (deleted_at) WHERE deleted_at IS NOT NULL;
        """;

    private const string Recovery =
        """
        ALTER TABLE messages ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE messages ADD COLUMN backend TEXT;

        CREATE TABLE leases (
            name       TEXT NOT NULL PRIMARY KEY,
            holder     TEXT,
            expires_at TEXT,
            note       TEXT
        ) WITHOUT ROWID;
        """;

    // Whose request it is and what it asks for are written again here, so that a user's share of the queue is one look into an
    // index of what waits.
    private const string ManyRequests =
        """
        ALTER TABLE messages ADD COLUMN username TEXT;
        ALTER TABLE messages ADD COLUMN work REAL;

        UPDATE messages SET
            username = (SELECT username FROM conversations WHERE conversations.id = conversation_id),
            work = CASE WHEN queued_at IS NOT NULL THEN ifnull(
                (extra_metadata ->> '$.settings.width') * (extra_metadata ->> '$.settings.height') * (extra_metadata ->> '$.settings.steps') / 1000000.0, 0) END;

        CREATE INDEX ix_messages_user ON messages (username, work) WHERE status = 'queued' AND queued_at IS NOT NULL;
        CREATE INDEX ix_messages_jobless ON messages (queued_at, id) WHERE status = 'queued' AND queued_at IS NOT NULL AND hangfire_job_id IS NULL;
        CREATE INDEX ix_messages_conversation_revision ON messages (conversation_id, revision);
        DROP INDEX ix_messages_conversation_status;
        """;

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
