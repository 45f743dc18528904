-- How the hours went, for the operators' overview: numbers, which stay when messages are retried or erased. Idempotent; the
-- release before this one goes on working beside it, and notes nothing.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- What happened to requests in the last day or so: a row for each claim and each end, written by the statement that claims or
-- ends it. No trigger, check or foreign key here: OUTPUT INTO is refused on a table with one.
IF OBJECT_ID(N'dbo.imagequeue_moments', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_moments
    (
        at      datetime2(3) NOT NULL,
        number  bigint IDENTITY (1, 1) NOT NULL,
        kind    nvarchar(20) COLLATE Latin1_General_100_BIN2 NOT NULL,
        code    nvarchar(100) COLLATE Latin1_General_100_BIN2 NULL,
        seconds float NULL,

        CONSTRAINT PK_imagequeue_moments PRIMARY KEY CLUSTERED (at, number)
    );
GO

-- A few rows for each hour, reckoned from the moments; kept for 90 days.
IF OBJECT_ID(N'dbo.imagequeue_history', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_history
    (
        hour   datetime2(3) NOT NULL,
        kind   nvarchar(20) COLLATE Latin1_General_100_BIN2 NOT NULL,
        code   nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        count  int NOT NULL,
        median float NULL, -- of the seconds that belong to the kind
        high   float NULL, -- what 95 of 100 of them did not exceed

        CONSTRAINT PK_imagequeue_history PRIMARY KEY CLUSTERED (hour, kind, code)
    );
GO

GRANT SELECT, INSERT, DELETE ON OBJECT::dbo.imagequeue_moments TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.imagequeue_history TO imagequeue_app;
GRANT SELECT ON OBJECT::dbo.imagequeue_moments TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_history TO imagequeue_reader;
GO
