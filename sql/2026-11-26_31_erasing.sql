-- What a message that was erased leaves behind. Idempotent; the release before this one goes on working beside it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- When it was erased: set on tombstones and on nothing else. A plain message may carry a "status" of the chat app's own, so
-- that this column tells the two apart.
IF COL_LENGTH(N'dbo.messages', N'deleted_at') IS NULL
    ALTER TABLE dbo.messages ADD deleted_at datetime2(3) NULL;
GO

-- Tombstones, the oldest first, for Messages:KeepTombstonesFor. Queries must say "deleted_at IS NOT NULL" to use it.
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_deleted')
    CREATE INDEX IX_messages_deleted ON dbo.messages (deleted_at) WHERE deleted_at IS NOT NULL;
GO

-- Old tombstones go for good, and conversations of which nothing is left.
GRANT DELETE ON OBJECT::dbo.messages TO imagequeue_app;
GRANT DELETE ON OBJECT::dbo.conversations TO imagequeue_app;
GO
