-- Least-privilege roles. Safe to run again. They have no members here: that is the DBA's line,
--     ALTER ROLE imagequeue_app ADD MEMBER [the login's user];
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- Hangfire's installer creates its schema when it is missing. It must exist now, so that rights on it can be granted whichever
-- of the two runs first. CREATE SCHEMA must be alone in its batch, hence EXEC.
IF SCHEMA_ID(N'HangFire') IS NULL
    EXEC (N'CREATE SCHEMA HangFire');
GO

-- The app: reads and writes rows, deletes old tombstones and samples, changes no table.
IF DATABASE_PRINCIPAL_ID(N'imagequeue_app') IS NULL
    CREATE ROLE imagequeue_app;
GO

GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.conversations TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.messages TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE ON OBJECT::dbo.imagequeue_leases TO imagequeue_app;
GRANT SELECT, INSERT, DELETE ON OBJECT::dbo.imagequeue_pauses TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.imagequeue_uploads TO imagequeue_app;
GRANT SELECT, INSERT, DELETE ON OBJECT::dbo.imagequeue_statistics_samples TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.imagequeue_statistics TO imagequeue_app;
GRANT SELECT, INSERT ON OBJECT::dbo.data_protection_keys TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA::HangFire TO imagequeue_app;
GO

-- Reports and support: read-only. No right on the data-protection keys: a reader of a key can make tokens.
IF DATABASE_PRINCIPAL_ID(N'imagequeue_reader') IS NULL
    CREATE ROLE imagequeue_reader;
GO

GRANT SELECT ON OBJECT::dbo.conversations TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.messages TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_leases TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_pauses TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_uploads TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_statistics_samples TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.imagequeue_statistics TO imagequeue_reader;
GRANT SELECT ON SCHEMA::HangFire TO imagequeue_reader;
GO
