-- What was sent with an idempotency key. Idempotent; the release before this one goes on working beside it.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- A fingerprint of the request as it was sent, before defaults: the same key with the same fingerprint is a replay. Null
-- without a key, and for rows of earlier releases, whose requests are compared by what they came to.
IF COL_LENGTH(N'dbo.messages', N'request_hash') IS NULL
    ALTER TABLE dbo.messages ADD request_hash nvarchar(64) COLLATE Latin1_General_100_BIN2 NULL;
GO
