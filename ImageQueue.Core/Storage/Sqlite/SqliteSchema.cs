using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

/// <summary>The tables of the embedded store. Their version is SQLite's own <c>user_version</c>.</summary>
internal static class SqliteSchema
{
    /// <summary>The version that this release reads and writes.</summary>
    public static int Version => Steps.Length;

    /// <summary>Creates missing tables, or only checks them. Safe to run at every start and beside another process.</summary>
    /// <exception cref="SchemaException">The tables are missing and may not be created, or are of a newer release.</exception>
    public static void Prepare(SqliteConnection connection, bool apply)
    {
        var version = connection.ExecuteScalar<int>("PRAGMA user_version");
        if (version == Version)
            return;
        if (version > Version)
        {
            throw new SchemaException(
                $"The database {connection.DataSource} was written by a newer ImageQueue (schema {version}, this one knows {Version}). "
                + "Start the newer release, or name another file in ConnectionStrings:ImageQueue.");
        }

        if (!apply)
        {
            throw new SchemaException(
                version == 0
                    ? $"The database {connection.DataSource} has no ImageQueue tables. "
                        + "Set Storage:ApplySchema to true to have them created, or correct ConnectionStrings:ImageQueue."
                    : $"The database {connection.DataSource} was written by an older ImageQueue "
                        + $"(schema {version}, this one needs {Version}). "
                        + "Make a copy of it, then set Storage:ApplySchema to true to have it changed.");
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

    /// <summary>Each step makes its version from the one before. Never edit a released step; add another.</summary>
    private static readonly string[] Steps = [Tables];

    // An image message is one with queued_at, a tombstone one with deleted_at: a plain message may carry a "status" of the chat app's
    // own. username and work are repeated in the message, so that one user's share of the queue is one seek.
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
            username        TEXT NOT NULL,
            role            TEXT NOT NULL CHECK (role IN ('user', 'bot')),
            content         TEXT NOT NULL,
            extra_metadata  TEXT CHECK (json_valid(extra_metadata)),
            created_at      TEXT NOT NULL,
            updated_at      TEXT NOT NULL,
            hangfire_job_id TEXT,
            idempotency_key TEXT,
            request_hash    TEXT,
            attempt         INTEGER NOT NULL DEFAULT 0,
            failures        INTEGER NOT NULL DEFAULT 0,
            disruptions     INTEGER NOT NULL DEFAULT 0,
            backend         TEXT,
            heartbeat_at    TEXT,
            queued_at       TEXT,
            finished_at     TEXT,
            deleted_at      TEXT,
            work            REAL,
            events          TEXT,
            revision        INTEGER NOT NULL,
            status          TEXT GENERATED ALWAYS AS (extra_metadata ->> '$.status') VIRTUAL,
            job_id          TEXT GENERATED ALWAYS AS (extra_metadata ->> '$.job_id') VIRTUAL
        );

        CREATE TABLE leases (
            name       TEXT NOT NULL PRIMARY KEY,
            holder     TEXT,
            expires_at TEXT,
            note       TEXT
        ) WITHOUT ROWID;

        CREATE TABLE pauses (
            name      TEXT NOT NULL PRIMARY KEY,
            paused_by TEXT NOT NULL,
            paused_at TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE uploads (
            id              TEXT NOT NULL PRIMARY KEY,
            conversation_id TEXT NOT NULL,
            width           INTEGER NOT NULL,
            height          INTEGER NOT NULL,
            uses            INTEGER NOT NULL DEFAULT 0,
            created_at      TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE statistics_samples (
            at      TEXT NOT NULL,
            kind    TEXT NOT NULL,
            code    TEXT,
            seconds REAL,
            backend TEXT,
            work    REAL
        );

        CREATE TABLE statistics (
            hour   TEXT NOT NULL,
            kind   TEXT NOT NULL,
            code   TEXT NOT NULL,
            count  INTEGER NOT NULL,
            median REAL,
            high   REAL,
            PRIMARY KEY (hour, kind, code)
        ) WITHOUT ROWID;

        CREATE INDEX ix_conversations_username ON conversations (username);
        CREATE INDEX ix_messages_conversation ON messages (conversation_id, id);
        CREATE INDEX ix_messages_conversation_revision ON messages (conversation_id, revision);
        CREATE UNIQUE INDEX ux_messages_idempotency_key ON messages (conversation_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
        CREATE INDEX ix_messages_hangfire_job_id ON messages (hangfire_job_id) WHERE hangfire_job_id IS NOT NULL;
        CREATE INDEX ix_messages_status ON messages (status, queued_at, id) WHERE queued_at IS NOT NULL;
        CREATE INDEX ix_messages_user ON messages (username, work) WHERE status = 'queued' AND queued_at IS NOT NULL;
        CREATE INDEX ix_messages_jobless ON messages (queued_at, id)
            WHERE status = 'queued' AND queued_at IS NOT NULL AND hangfire_job_id IS NULL;
        CREATE INDEX ix_messages_job_id ON messages (job_id) WHERE queued_at IS NOT NULL;
        CREATE UNIQUE INDEX ix_messages_revision ON messages (revision);
        CREATE INDEX ix_messages_finished ON messages (finished_at, id, status) WHERE finished_at IS NOT NULL;
        CREATE INDEX ix_messages_deleted ON messages (deleted_at) WHERE deleted_at IS NOT NULL;
        CREATE INDEX ix_uploads_unused ON uploads (created_at) WHERE uses = 0;
        CREATE INDEX ix_uploads_conversation ON uploads (conversation_id);
        CREATE INDEX ix_statistics_samples_at ON statistics_samples (at);
        """;
}
