-- Indexes. Safe to run again; each is created when no index of its name exists.
--
-- Filtered indexes and indexes on computed columns can be created, and their tables written, only with QUOTED_IDENTIFIER and
-- ANSI_NULLS on. Clients have both on; sqlcmd has not, unless the script says so, as here.
-- A query must repeat an index's filter to use it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- A user's conversations.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.conversations') AND name = N'IX_conversations_username')
    CREATE INDEX IX_conversations_username ON dbo.conversations (username);
GO

-- A conversation's messages, page by page.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation')
    CREATE INDEX IX_messages_conversation ON dbo.messages (conversation_id, id);
GO

-- Whose revision is above the client's, in one conversation: a client that starts to watch, or reconnects.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation_revision')
    CREATE INDEX IX_messages_conversation_revision ON dbo.messages (conversation_id, revision);
GO

-- A repeated submit finds the first one, even when both come at once.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'UX_messages_idempotency_key')
    CREATE UNIQUE INDEX UX_messages_idempotency_key ON dbo.messages (conversation_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
GO

-- From a Hangfire job to its message: positions, and operators' commands on the dashboard.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_hangfire_job_id')
    CREATE INDEX IX_messages_hangfire_job_id ON dbo.messages (hangfire_job_id) WHERE hangfire_job_id IS NOT NULL;
GO

-- Image requests by status, oldest first: the sweep, and the queue rebuilt after a restore. Holds nothing that a progress
-- write changes.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_status')
    CREATE INDEX IX_messages_status ON dbo.messages (status, queued_at, id) INCLUDE (hangfire_job_id) WHERE queued_at IS NOT NULL;
GO

-- How much one user has waiting: count and sum in one seek.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_user')
    CREATE INDEX IX_messages_user ON dbo.messages (username, status) INCLUDE (work) WHERE queued_at IS NOT NULL;
GO

-- Requests that wait without a Hangfire job: a handful at any time.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_jobless')
    CREATE INDEX IX_messages_jobless ON dbo.messages (status, queued_at, id) WHERE queued_at IS NOT NULL AND hangfire_job_id IS NULL;
GO

-- From an image's name to its message.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_job_id')
    CREATE INDEX IX_messages_job_id ON dbo.messages (job_id) WHERE queued_at IS NOT NULL;
GO

-- Which rows changed since a revision, and in which conversation, without reading the rows.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_revision')
    CREATE INDEX IX_messages_revision ON dbo.messages (revision) INCLUDE (conversation_id);
GO

-- Finished requests by their end, page by page, and the errors of a day.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_finished')
    CREATE INDEX IX_messages_finished ON dbo.messages (finished_at, id) INCLUDE (status) WHERE finished_at IS NOT NULL;
GO

-- Tombstones, oldest first, for Messages:KeepTombstonesFor.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_deleted')
    CREATE INDEX IX_messages_deleted ON dbo.messages (deleted_at) WHERE deleted_at IS NOT NULL;
GO

-- Uploads that no request has used, oldest first, for Images:KeepUploadsFor.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.imagequeue_uploads') AND name = N'IX_imagequeue_uploads_unused')
    CREATE INDEX IX_imagequeue_uploads_unused ON dbo.imagequeue_uploads (created_at) WHERE uses = 0;
GO

-- A conversation's uploads, to erase with it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.imagequeue_uploads') AND name = N'IX_imagequeue_uploads_conversation')
    CREATE INDEX IX_imagequeue_uploads_conversation ON dbo.imagequeue_uploads (conversation_id);
GO
