-- Conversations and their messages. Idempotent; makes what is missing and leaves what is there.
--
-- Ids, usernames and keys are compared exactly (BIN2), whatever the database's collation is: under a Turkish or any other
-- case-insensitive one, "IMAGE" and "image" would otherwise be one conversation, or two, as the server was installed.
-- So is extra_metadata, for the columns computed from it. SQL Server ignores trailing blanks in every collation.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

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

-- One row is the single truth about its request. Times are UTC.
IF OBJECT_ID(N'dbo.messages', N'U') IS NULL
    CREATE TABLE dbo.messages
    (
        id              bigint IDENTITY (1, 1) NOT NULL,
        conversation_id nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        role            nvarchar(10) COLLATE Latin1_General_100_BIN2 NOT NULL,
        content         nvarchar(max) NOT NULL,
        extra_metadata  nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
        created_at      datetime2(3) NOT NULL CONSTRAINT DF_messages_created_at DEFAULT (SYSUTCDATETIME()),
        updated_at      datetime2(3) NOT NULL CONSTRAINT DF_messages_updated_at DEFAULT (SYSUTCDATETIME()),

        -- Bookkeeping that the chat app does not see.
        hangfire_job_id nvarchar(100) COLLATE Latin1_General_100_BIN2 NULL,
        idempotency_key nvarchar(200) COLLATE Latin1_General_100_BIN2 NULL,
        attempt         int NOT NULL CONSTRAINT DF_messages_attempt DEFAULT (0),
        heartbeat_at    datetime2(3) NULL,
        queued_at       datetime2(3) NULL, -- set on image requests and on nothing else
        revision        rowversion NOT NULL,

        -- Written once, in extra_metadata; kept here so that they can be indexed.
        status          AS CAST(JSON_VALUE(extra_metadata, N'$."status"') AS nvarchar(20)) PERSISTED,
        job_id          AS CAST(JSON_VALUE(extra_metadata, N'$."job_id"') AS nvarchar(32)) PERSISTED,

        CONSTRAINT PK_messages PRIMARY KEY CLUSTERED (id),
        CONSTRAINT FK_messages_conversations FOREIGN KEY (conversation_id) REFERENCES dbo.conversations (id),
        CONSTRAINT CK_messages_role CHECK (role IN (N'user', N'bot')),
        CONSTRAINT CK_messages_extra_metadata CHECK (ISJSON(extra_metadata) = 1)
    );
GO
