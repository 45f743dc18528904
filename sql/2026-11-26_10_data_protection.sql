-- The web app's data-protection keys, with which watchers' tokens, operators' cookies and forms are made and read: every
-- machine of a shared queue needs the same. Encrypted where Auth:Certificate is set. Idempotent.
SET XACT_ABORT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET NOCOUNT ON;
GO

IF OBJECT_ID(N'dbo.data_protection_keys', N'U') IS NULL
    CREATE TABLE dbo.data_protection_keys
    (
        id            int IDENTITY (1, 1) NOT NULL,
        friendly_name nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
        key_xml       nvarchar(max) NOT NULL,
        created_at    datetime2(3) NOT NULL CONSTRAINT DF_data_protection_keys_created_at DEFAULT (SYSUTCDATETIME()),

        CONSTRAINT PK_data_protection_keys PRIMARY KEY CLUSTERED (id),
        CONSTRAINT UQ_data_protection_keys_friendly_name UNIQUE (friendly_name)
    );
GO

-- The app alone: whoever reads a key can make tokens. imagequeue_reader gets nothing here.
GRANT SELECT, INSERT ON OBJECT::dbo.data_protection_keys TO imagequeue_app;
GO
