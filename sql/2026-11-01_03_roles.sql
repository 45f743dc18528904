-- Least-privilege roles. Idempotent. Nobody is put into them here: that is the DBA's line,
--     ALTER ROLE imagequeue_app ADD MEMBER [the login's user];
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

-- Hangfire's installer makes its schema when it is missing and takes it when it is there. It must be there now, so that
-- rights on it can be given whichever of the two runs first. CREATE SCHEMA must be alone in its batch, hence EXEC.
IF SCHEMA_ID(N'HangFire') IS NULL
    EXEC (N'CREATE SCHEMA HangFire');
GO

-- The app: reads and writes its rows, deletes none of its own, changes no table.
IF DATABASE_PRINCIPAL_ID(N'imagequeue_app') IS NULL
    CREATE ROLE imagequeue_app;
GO

GRANT SELECT, INSERT, UPDATE ON OBJECT::dbo.conversations TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE ON OBJECT::dbo.messages TO imagequeue_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA::HangFire TO imagequeue_app;
GO

-- Reports and support: looks, touches nothing.
IF DATABASE_PRINCIPAL_ID(N'imagequeue_reader') IS NULL
    CREATE ROLE imagequeue_reader;
GO

GRANT SELECT ON OBJECT::dbo.conversations TO imagequeue_reader;
GRANT SELECT ON OBJECT::dbo.messages TO imagequeue_reader;
GRANT SELECT ON SCHEMA::HangFire TO imagequeue_reader;
GO
