-- What recovery needs to know. Idempotent; the release before this one goes on working beside it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- How often a request itself may have been what ended an attempt: apart from the attempt, which only fences.
IF COL_LENGTH(N'dbo.messages', N'failures') IS NULL
    ALTER TABLE dbo.messages ADD failures int NOT NULL CONSTRAINT DF_messages_failures DEFAULT (0);
GO

-- Which Forge paints it, or painted it last.
IF COL_LENGTH(N'dbo.messages', N'backend') IS NULL
    ALTER TABLE dbo.messages ADD backend nvarchar(200) NULL;
GO

-- What one process at a time may do or use. Whoever holds a lease renews it; a term that is over, by this server's clock,
-- frees it. The note outlives its holder: it says what that one was at.
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

GRANT SELECT, INSERT, UPDATE ON OBJECT::dbo.imagequeue_leases TO imagequeue_app;
GRANT SELECT ON OBJECT::dbo.imagequeue_leases TO imagequeue_reader;
GO
