-- What has happened to a request, attempt by attempt, for operators. Idempotent; the release before this one goes on working
-- beside it, and writes no history.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- A line for each transition, the newest at the end; what is older than fits is cut. No transition reads it.
IF COL_LENGTH(N'dbo.messages', N'history') IS NULL
    ALTER TABLE dbo.messages ADD history nvarchar(3000) NULL;
GO
