-- What long queues and many machines ask of the tables. Idempotent; the release before this one goes on working beside it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- Whose request it is, as the conversation says, so that what one user has waiting is one seek. NULL on rows of earlier
-- releases that do not wait any more, and on those that an earlier release adds.
IF COL_LENGTH(N'dbo.messages', N'username') IS NULL
    ALTER TABLE dbo.messages ADD username nvarchar(100) COLLATE Latin1_General_100_BIN2 NULL;
GO

-- What an image request asks of a GPU, in megapixel-steps.
IF COL_LENGTH(N'dbo.messages', N'work') IS NULL
    ALTER TABLE dbo.messages ADD work float NULL;
GO

-- What one user has waiting: count and sum in one seek. Queries must say "queued_at IS NOT NULL" to use it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_user')
    CREATE INDEX IX_messages_user ON dbo.messages (username, status) INCLUDE (work) WHERE queued_at IS NOT NULL;
GO

-- Requests that wait without a Hangfire job: a handful at any time. Queries must say both of the filter's conditions.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_jobless')
    CREATE INDEX IX_messages_jobless ON dbo.messages (status, queued_at, id) WHERE queued_at IS NOT NULL AND hangfire_job_id IS NULL;
GO

-- What changed in one conversation since a revision: whoever begins to watch, or comes back.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation_revision')
    CREATE INDEX IX_messages_conversation_revision ON dbo.messages (conversation_id, revision);
GO

-- Which rows changed since a revision, and in which conversation, without a look at the rows.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_changes')
    CREATE INDEX IX_messages_changes ON dbo.messages (revision) INCLUDE (conversation_id);
GO

-- From a picture's name to its message. Queries must say "queued_at IS NOT NULL" to use it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_picture')
    CREATE INDEX IX_messages_picture ON dbo.messages (job_id) WHERE queued_at IS NOT NULL;
GO

-- What the app reads: an object, and nothing before it. WITH NOCHECK: what somebody has written by hand before stays, and is
-- read as far as it can be.
IF OBJECT_ID(N'dbo.CK_messages_metadata_object', N'C') IS NULL
    ALTER TABLE dbo.messages WITH NOCHECK ADD CONSTRAINT CK_messages_metadata_object CHECK (ISJSON(extra_metadata) = 1 AND LEFT(extra_metadata, 1) = N'{');
GO

-- Requests that wait or are painted get their user and their work now, a thousand in a transaction; the index above finds
-- those that have none. Others get them when they wait again: writing to all that were ever kept would be a change of each,
-- which every watcher's machine would read.
DECLARE @Rows int = 1;
WHILE @Rows > 0
BEGIN
    UPDATE TOP (1000) dbo.messages
    SET username = (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id),
        work = ISNULL(
            TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."width"') AS float)
                * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."height"') AS float)
                * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."steps"') AS float) / 1000000,
            0)
    WHERE username IS NULL AND queued_at IS NOT NULL AND status IN (N'queued', N'processing');
    SET @Rows = @@ROWCOUNT;
END
GO
