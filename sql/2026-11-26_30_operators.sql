-- What operators have paused: a row for the queue as a whole, and one for each Forge that is to get nothing. No row, no pause.
-- Idempotent; the release before this one goes on working beside it, and does not know of pauses.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

IF OBJECT_ID(N'dbo.imagequeue_pauses', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_pauses
    (
        name      nvarchar(300) COLLATE Latin1_General_100_BIN2 NOT NULL,
        paused_by nvarchar(200) NOT NULL,
        paused_at datetime2(3) NOT NULL CONSTRAINT DF_imagequeue_pauses_paused_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_imagequeue_pauses PRIMARY KEY CLUSTERED (name)
    );
GO

GRANT SELECT, INSERT, DELETE ON OBJECT::dbo.imagequeue_pauses TO imagequeue_app;
GRANT SELECT ON OBJECT::dbo.imagequeue_pauses TO imagequeue_reader;
GO
