-- Tables. Safe to run again; creates missing tables and leaves existing ones as they are.
--
-- Ids, usernames and keys are compared exactly (BIN2), whatever the database's collation is: a Turkish or other
-- case-insensitive collation would otherwise decide whether "IMAGE" and "image" are one conversation or two.
-- So is extra_metadata, for the columns computed from it. SQL Server ignores trailing blanks in every collation.
-- No triggers on these tables: OUTPUT without INTO is refused on a table that has one.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- The owner (username) is empty once the conversation is erased.
IF OBJECT_ID(N'dbo.conversations', N'U') IS NULL
    CREATE TABLE dbo.conversations
    (
        id         nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        username   nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        title      nvarchar(400) NULL,
        created_at datetime2(3) NOT NULL CONSTRAINT DF_conversations_created_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_conversations PRIMARY KEY CLUSTERED (id)
    );
GO

-- A row is the single source of truth about its request. Times are UTC.
IF OBJECT_ID(N'dbo.messages', N'U') IS NULL
    CREATE TABLE dbo.messages
    (
        id              bigint IDENTITY (1, 1) NOT NULL,
        conversation_id nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        username        nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL, -- the conversation's owner, for one seek by user
        role            nvarchar(10) COLLATE Latin1_General_100_BIN2 NOT NULL,
        content         nvarchar(max) NOT NULL,
        extra_metadata  nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
        created_at      datetime2(3) NOT NULL CONSTRAINT DF_messages_created_at DEFAULT (SYSUTCDATETIME()),
        updated_at      datetime2(3) NOT NULL CONSTRAINT DF_messages_updated_at DEFAULT (SYSUTCDATETIME()),

        -- Bookkeeping that the chat app does not see.
        hangfire_job_id nvarchar(100) COLLATE Latin1_General_100_BIN2 NULL,
        idempotency_key nvarchar(200) COLLATE Latin1_General_100_BIN2 NULL,
        request_hash    nvarchar(64) COLLATE Latin1_General_100_BIN2 NULL, -- of what was sent with the key, before defaults
        attempt         int NOT NULL CONSTRAINT DF_messages_attempt DEFAULT (0), -- the fence: a worker writes only under its own attempt
        failures        int NOT NULL CONSTRAINT DF_messages_failures DEFAULT (0), -- attempts that the request itself failed
        disruptions     int NOT NULL CONSTRAINT DF_messages_disruptions DEFAULT (0), -- attempts that a backend broke off
        backend         nvarchar(200) NULL, -- the backend that generates it, or the last one that did
        heartbeat_at    datetime2(3) NULL,
        queued_at       datetime2(3) NULL, -- set on image requests only
        finished_at     datetime2(3) NULL, -- set while an image request is complete, in error or cancelled
        deleted_at      datetime2(3) NULL, -- set on tombstones only; a plain message may carry a "status" of the chat app's own
        work            float NULL, -- megapixel-steps of an image request
        events          nvarchar(3000) NULL, -- a line for each transition, newest last; the oldest are cut
        revision        rowversion NOT NULL,

        -- Stored once, in extra_metadata; computed here so that they can be indexed.
        status          AS CAST(JSON_VALUE(extra_metadata, N'$."status"') AS nvarchar(20)) PERSISTED,
        job_id          AS CAST(JSON_VALUE(extra_metadata, N'$."job_id"') AS nvarchar(32)) PERSISTED,

        CONSTRAINT PK_messages PRIMARY KEY CLUSTERED (id),
        CONSTRAINT FK_messages_conversations FOREIGN KEY (conversation_id) REFERENCES dbo.conversations (id),
        CONSTRAINT CK_messages_role CHECK (role IN (N'user', N'bot')),
        CONSTRAINT CK_messages_extra_metadata CHECK (ISJSON(extra_metadata) = 1 AND LEFT(extra_metadata, 1) = N'{')
    );
GO

-- What one process at a time may use or lead. Its holder renews it; a term that is over, by this server's clock, frees it.
-- The note outlives the holder: it says what the holder was doing.
IF OBJECT_ID(N'dbo.imagequeue_leases', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_leases
    (
        name       nvarchar(300) COLLATE Latin1_General_100_BIN2 NOT NULL,
        holder     nvarchar(300) COLLATE Latin1_General_100_BIN2 NULL,
        expires_at datetime2(3) NULL,
        note       nvarchar(400) NULL,

        CONSTRAINT PK_imagequeue_leases PRIMARY KEY CLUSTERED (name)
    );
GO

-- What operators have paused: a row for the queue, and one for each paused backend. No row, no pause.
IF OBJECT_ID(N'dbo.imagequeue_pauses', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_pauses
    (
        name      nvarchar(300) COLLATE Latin1_General_100_BIN2 NOT NULL,
        paused_by nvarchar(200) NOT NULL,
        paused_at datetime2(3) NOT NULL CONSTRAINT DF_imagequeue_pauses_paused_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_imagequeue_pauses PRIMARY KEY CLUSTERED (name)
    );
GO

-- Images that users have uploaded to start from; the file is named by the id. The owner is the conversation's, which may come to
-- exist later.
IF OBJECT_ID(N'dbo.imagequeue_uploads', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_uploads
    (
        id              nvarchar(32) COLLATE Latin1_General_100_BIN2 NOT NULL,
        conversation_id nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        width           int NOT NULL,
        height          int NOT NULL,
        uses            int NOT NULL CONSTRAINT DF_imagequeue_uploads_uses DEFAULT (0), -- messages that name it
        created_at      datetime2(3) NOT NULL CONSTRAINT DF_imagequeue_uploads_created_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_imagequeue_uploads PRIMARY KEY CLUSTERED (id)
    );
GO

-- One sample for each claim and each end of the last day, written in the transaction that claims or ends the request.
IF OBJECT_ID(N'dbo.imagequeue_statistics_samples', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_statistics_samples
    (
        at      datetime2(3) NOT NULL,
        number  bigint IDENTITY (1, 1) NOT NULL,
        kind    nvarchar(20) COLLATE Latin1_General_100_BIN2 NOT NULL,
        code    nvarchar(100) COLLATE Latin1_General_100_BIN2 NULL,
        seconds float NULL,
        backend nvarchar(200) NULL,
        work    float NULL,

        CONSTRAINT PK_imagequeue_statistics_samples PRIMARY KEY CLUSTERED (at, number)
    );
GO

-- A few rows for each hour, aggregated from the samples and kept for 90 days.
IF OBJECT_ID(N'dbo.imagequeue_statistics', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_statistics
    (
        hour   datetime2(3) NOT NULL,
        kind   nvarchar(20) COLLATE Latin1_General_100_BIN2 NOT NULL,
        code   nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        count  int NOT NULL,
        median float NULL, -- of the kind's seconds
        high   float NULL, -- their 95th percentile

        CONSTRAINT PK_imagequeue_statistics PRIMARY KEY CLUSTERED (hour, kind, code)
    );
GO

-- The web app's data-protection keys, which sign tokens, cookies and forms: all machines of a shared queue need the same.
-- Encrypted where Auth:Certificate is set.
IF OBJECT_ID(N'dbo.data_protection_keys', N'U') IS NULL
    CREATE TABLE dbo.data_protection_keys
    (
        id            int IDENTITY (1, 1) NOT NULL,
        friendly_name nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        key_xml       nvarchar(max) NOT NULL,
        created_at    datetime2(3) NOT NULL CONSTRAINT DF_data_protection_keys_created_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_data_protection_keys PRIMARY KEY CLUSTERED (id),
        CONSTRAINT UQ_data_protection_keys_friendly_name UNIQUE (friendly_name)
    );
GO
