-- Database options. Safe to run again; changes nothing where it may not or cannot, and says so.
--
-- READ_COMMITTED_SNAPSHOT: readers see the last committed row instead of waiting for a writer. ImageQueue works without it,
-- but its reads then wait behind progress writes. Azure SQL Database has it on from the start.
-- Switching it needs ALTER on the database and no other connection. This script tries once and does not wait (NO_WAIT),
-- because waiting would hold up every new connection.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

IF EXISTS (SELECT 1 FROM sys.databases WHERE database_id = DB_ID() AND is_read_committed_snapshot_on = 0)
BEGIN
    -- ALTER DATABASE is refused inside a transaction, and the error would doom the transaction.
    IF @@TRANCOUNT > 0
        PRINT N'READ_COMMITTED_SNAPSHOT is still off: it cannot be switched inside a transaction. Run this script by itself.';
    ELSE
    BEGIN
        BEGIN TRY
            ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH NO_WAIT;
        END TRY
        BEGIN CATCH
            -- Neither keeps ImageQueue from working. The server raises two errors and shows only the last here, which is
            -- 5069 (ALTER DATABASE has failed); the first is the one that says why.
            IF HAS_PERMS_BY_NAME(DB_NAME(), N'DATABASE', N'ALTER') = 0
                PRINT N'READ_COMMITTED_SNAPSHOT is still off: this login may not alter the database (5011).';
            ELSE
                PRINT N'READ_COMMITTED_SNAPSHOT is still off: others are connected to the database (5070).';
            PRINT ERROR_MESSAGE();
            PRINT N'Run this script again as the database''s owner when no one else is connected.';
        END CATCH
    END
END
GO
