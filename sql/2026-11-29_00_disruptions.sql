-- How often a backend broke off an attempt, counted apart from failures. Idempotent; the release before this one goes on working beside it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

IF COL_LENGTH(N'dbo.messages', N'disruptions') IS NULL
    ALTER TABLE dbo.messages ADD disruptions int NOT NULL CONSTRAINT DF_messages_disruptions DEFAULT (0);
GO
