-- Indexes. Idempotent; each is made when no index of its name is there.
--
-- Filtered indexes and indexes on computed columns can be made, and their tables written, only with QUOTED_IDENTIFIER and
-- ANSI_NULLS on. Clients have both on; sqlcmd has not, unless the script says so, as here.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- A user's conversations, for how many requests the user has waiting.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.conversations') AND name = N'IX_conversations_username')
    CREATE INDEX IX_conversations_username ON dbo.conversations (username);
GO

-- A conversation's messages, page by page.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation')
    CREATE INDEX IX_messages_conversation ON dbo.messages (conversation_id, id);
GO

-- A repeated submit finds the first one, even when both come at once.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'UX_messages_idempotency_key')
    CREATE UNIQUE INDEX UX_messages_idempotency_key ON dbo.messages (conversation_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
GO

-- From a Hangfire job to its message: positions, and operators' actions on the dashboard.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_hangfire_job_id')
    CREATE INDEX IX_messages_hangfire_job_id ON dbo.messages (hangfire_job_id) WHERE hangfire_job_id IS NOT NULL;
GO

-- Image requests by status, oldest first: the sweep, and the queue rebuilt after a restore. Queries must say
-- "queued_at IS NOT NULL" to use it. Nothing that each progress write changes is in it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_work')
    CREATE INDEX IX_messages_work ON dbo.messages (status, queued_at, id) INCLUDE (hangfire_job_id) WHERE queued_at IS NOT NULL;
GO

-- How many requests of a conversation wait. Queries must say "queued_at IS NOT NULL" to use it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation_status')
    CREATE INDEX IX_messages_conversation_status ON dbo.messages (conversation_id, status) WHERE queued_at IS NOT NULL;
GO

-- From a picture's name to its message.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_job_id')
    CREATE INDEX IX_messages_job_id ON dbo.messages (job_id);
GO

-- What changed since a revision, in order.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_revision')
    CREATE INDEX IX_messages_revision ON dbo.messages (revision);
GO
