DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();
GO
DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();
SELECT MAX(revision) FROM dbo.messages WHERE revision < @End;
GO
DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision, @End AS HeldBackAt
FROM dbo.messages
WHERE revision > @Since
ORDER BY revision;
GO
DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision, ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)) AS Username
FROM dbo.messages
WHERE conversation_id = @ConversationId AND revision > @Since AND revision < @End
ORDER BY revision;
GO
DECLARE @From bigint = (SELECT MAX(id) + 1 FROM dbo.messages WHERE id < @Before) - @Span;
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision, ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)) AS Username
FROM dbo.messages
WHERE id < @Before AND id > @From AND queued_at IS NOT NULL
    AND status IN (SELECT those.status COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Statuses) WITH (status nvarchar(20) '$') AS those)
ORDER BY id DESC;
GO
DECLARE @From bigint = (SELECT MAX(id) + 1 FROM dbo.messages WHERE id < @Before) - @Span;
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision, ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)) AS Username
FROM dbo.messages
WHERE id < @Before AND id > @From AND queued_at IS NOT NULL
    AND status IN (SELECT those.status COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Statuses) WITH (status nvarchar(20) '$') AS those) AND JSON_VALUE(extra_metadata, N'$."error_code"') = @Code AND backend = @Backend AND username = @Username AND (id = @Number OR job_id = @Text OR hangfire_job_id = @Text OR conversation_id = @Text OR CHARINDEX(@Text, JSON_VALUE(extra_metadata, N'$."prompt"') COLLATE Latin1_General_100_CI_AS) > 0)
ORDER BY id DESC;
GO
DECLARE @Lock int;
DECLARE @UserLock nvarchar(255) = CONCAT(N'imagequeue:submit:', @Username);
EXEC @Lock = sp_getapplock @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
IF @Lock < 0
    THROW 51222, N'The user''s other submissions have not ended in time.', 1;
GO
DECLARE @Lock int;
EXEC @Lock = sp_getapplock @Resource = N'imagequeue:schema', @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = @LockTimeout;
IF @Lock < 0
    THROW 51223, N'Another process has been changing the schema for too long.', 1;
GO
DECLARE @Pending int, @PendingWork float;
SELECT @Pending = COUNT(*), @PendingWork = ISNULL(SUM(work), 0)
FROM dbo.messages
WHERE username = @Username AND queued_at IS NOT NULL AND status = N'queued';
GO
DECLARE @Task nvarchar(100) = (SELECT CONCAT(job_id, N'-', attempt) FROM dbo.messages WHERE id = @Id);
UPDATE dbo.imagequeue_leases SET note = @Task WHERE name = @Lease;
GO
DELETE FROM dbo.imagequeue_pauses WHERE name = @Name;
GO
DELETE TOP (@Limit) FROM dbo.messages
WHERE deleted_at IS NOT NULL AND deleted_at < DATEADD(second, -@Seconds, SYSUTCDATETIME());
DECLARE @Forgotten int = @@ROWCOUNT;
DELETE FROM dbo.conversations
WHERE username = N'' AND NOT EXISTS (SELECT 1 FROM dbo.messages AS any_message WHERE any_message.conversation_id = conversations.id);
SELECT @Forgotten;
GO
EXEC sp_releaseapplock @Resource = N'imagequeue:schema', @LockOwner = N'Session';
GO
IF DB_ID(@Name) IS NULL
BEGIN
    DECLARE @Create nvarchar(300) = N'CREATE DATABASE ' + QUOTENAME(@Name);
    EXEC (@Create);
END
GO
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)
BEGIN
    ROLLBACK TRANSACTION;
    SELECT N'forbidden' AS Outcome;
END
ELSE IF EXISTS (SELECT 1 FROM dbo.messages WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL)
BEGIN
    COMMIT TRANSACTION;
    SELECT N'replay' AS Outcome, id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision
    FROM dbo.messages
    WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL;
END
GO
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
    INSERT INTO dbo.conversations (id, username, title, created_at) VALUES (@ConversationId, @Username, @Title, @Now);
GO
IF OBJECT_ID(N'dbo.imagequeue_scripts', N'U') IS NULL
    CREATE TABLE dbo.imagequeue_scripts
    (
        name       nvarchar(200) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT PK_imagequeue_scripts PRIMARY KEY,
        applied_at datetime2(3) NOT NULL CONSTRAINT DF_imagequeue_scripts_applied_at DEFAULT (SYSUTCDATETIME())
    );
GO
INSERT INTO dbo.data_protection_keys (friendly_name, key_xml)
SELECT @Name, @Xml
WHERE NOT EXISTS (SELECT 1 FROM dbo.data_protection_keys WITH (UPDLOCK, HOLDLOCK) WHERE friendly_name = @Name);
GO
INSERT INTO dbo.imagequeue_leases (name)
SELECT DISTINCT those.name FROM OPENJSON(@Names) WITH (name nvarchar(300) '$') AS those
WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_leases AS known WHERE known.name = those.name COLLATE Latin1_General_100_BIN2);
UPDATE dbo.imagequeue_leases
SET holder = @Holder, expires_at = DATEADD(millisecond, @Term, SYSUTCDATETIME())
OUTPUT inserted.name AS Name, inserted.note AS Note
WHERE name IN (SELECT those.name COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Names) WITH (name nvarchar(300) '$') AS those) AND (holder IS NULL OR holder = @Holder OR expires_at <= SYSUTCDATETIME());
GO
INSERT INTO dbo.imagequeue_pauses (name, paused_by)
SELECT @Name, @By
WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_pauses WHERE name = @Name);
GO
INSERT INTO dbo.imagequeue_scripts (name) SELECT @Name WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_scripts WHERE name = @Name);
GO
INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at)
    OUTPUT N'added' AS Outcome, inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
    VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now);
GO
INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work, idempotency_key, request_hash)
    OUTPUT N'added' AS Outcome, inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
    VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, SYSUTCDATETIME(), @Work, @IdempotencyKey, @RequestHash);
GO
SELECT 0 AS part WHERE OBJECT_ID(N'dbo.conversations', N'U') IS NULL
UNION ALL SELECT 1 AS part WHERE COL_LENGTH(N'dbo.conversations', N'id') IS NULL
UNION ALL SELECT 2 AS part WHERE COL_LENGTH(N'dbo.conversations', N'username') IS NULL
UNION ALL SELECT 3 AS part WHERE COL_LENGTH(N'dbo.conversations', N'title') IS NULL
UNION ALL SELECT 4 AS part WHERE COL_LENGTH(N'dbo.conversations', N'created_at') IS NULL
UNION ALL SELECT 5 AS part WHERE OBJECT_ID(N'dbo.messages', N'U') IS NULL
UNION ALL SELECT 6 AS part WHERE COL_LENGTH(N'dbo.messages', N'id') IS NULL
UNION ALL SELECT 7 AS part WHERE COL_LENGTH(N'dbo.messages', N'conversation_id') IS NULL
UNION ALL SELECT 8 AS part WHERE COL_LENGTH(N'dbo.messages', N'role') IS NULL
UNION ALL SELECT 9 AS part WHERE COL_LENGTH(N'dbo.messages', N'content') IS NULL
UNION ALL SELECT 10 AS part WHERE COL_LENGTH(N'dbo.messages', N'extra_metadata') IS NULL
UNION ALL SELECT 11 AS part WHERE COL_LENGTH(N'dbo.messages', N'created_at') IS NULL
UNION ALL SELECT 12 AS part WHERE COL_LENGTH(N'dbo.messages', N'updated_at') IS NULL
UNION ALL SELECT 13 AS part WHERE COL_LENGTH(N'dbo.messages', N'hangfire_job_id') IS NULL
UNION ALL SELECT 14 AS part WHERE COL_LENGTH(N'dbo.messages', N'idempotency_key') IS NULL
UNION ALL SELECT 15 AS part WHERE COL_LENGTH(N'dbo.messages', N'attempt') IS NULL
UNION ALL SELECT 16 AS part WHERE COL_LENGTH(N'dbo.messages', N'heartbeat_at') IS NULL
UNION ALL SELECT 17 AS part WHERE COL_LENGTH(N'dbo.messages', N'queued_at') IS NULL
UNION ALL SELECT 18 AS part WHERE COL_LENGTH(N'dbo.messages', N'revision') IS NULL
UNION ALL SELECT 19 AS part WHERE COL_LENGTH(N'dbo.messages', N'status') IS NULL
UNION ALL SELECT 20 AS part WHERE COL_LENGTH(N'dbo.messages', N'job_id') IS NULL
UNION ALL SELECT 21 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.conversations') AND name = N'IX_conversations_username')
UNION ALL SELECT 22 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation')
UNION ALL SELECT 23 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'UX_messages_idempotency_key')
UNION ALL SELECT 24 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_hangfire_job_id')
UNION ALL SELECT 25 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_work')
UNION ALL SELECT 26 AS part WHERE OBJECT_ID(N'dbo.imagequeue_leases', N'U') IS NULL
UNION ALL SELECT 27 AS part WHERE COL_LENGTH(N'dbo.imagequeue_leases', N'name') IS NULL
UNION ALL SELECT 28 AS part WHERE COL_LENGTH(N'dbo.imagequeue_leases', N'holder') IS NULL
UNION ALL SELECT 29 AS part WHERE COL_LENGTH(N'dbo.imagequeue_leases', N'expires_at') IS NULL
UNION ALL SELECT 30 AS part WHERE COL_LENGTH(N'dbo.imagequeue_leases', N'note') IS NULL
UNION ALL SELECT 31 AS part WHERE COL_LENGTH(N'dbo.messages', N'failures') IS NULL
UNION ALL SELECT 32 AS part WHERE COL_LENGTH(N'dbo.messages', N'backend') IS NULL
UNION ALL SELECT 33 AS part WHERE COL_LENGTH(N'dbo.messages', N'username') IS NULL
UNION ALL SELECT 34 AS part WHERE COL_LENGTH(N'dbo.messages', N'work') IS NULL
UNION ALL SELECT 35 AS part WHERE OBJECT_ID(N'dbo.CK_messages_metadata_object', N'C') IS NULL
UNION ALL SELECT 36 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_user')
UNION ALL SELECT 37 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_jobless')
UNION ALL SELECT 38 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_conversation_revision')
UNION ALL SELECT 39 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_changes')
UNION ALL SELECT 40 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_image')
UNION ALL SELECT 41 AS part WHERE OBJECT_ID(N'dbo.data_protection_keys', N'U') IS NULL
UNION ALL SELECT 42 AS part WHERE COL_LENGTH(N'dbo.data_protection_keys', N'id') IS NULL
UNION ALL SELECT 43 AS part WHERE COL_LENGTH(N'dbo.data_protection_keys', N'friendly_name') IS NULL
UNION ALL SELECT 44 AS part WHERE COL_LENGTH(N'dbo.data_protection_keys', N'key_xml') IS NULL
UNION ALL SELECT 45 AS part WHERE COL_LENGTH(N'dbo.data_protection_keys', N'created_at') IS NULL
UNION ALL SELECT 46 AS part WHERE COL_LENGTH(N'dbo.messages', N'request_hash') IS NULL
UNION ALL SELECT 47 AS part WHERE OBJECT_ID(N'dbo.imagequeue_pauses', N'U') IS NULL
UNION ALL SELECT 48 AS part WHERE COL_LENGTH(N'dbo.imagequeue_pauses', N'name') IS NULL
UNION ALL SELECT 49 AS part WHERE COL_LENGTH(N'dbo.imagequeue_pauses', N'paused_by') IS NULL
UNION ALL SELECT 50 AS part WHERE COL_LENGTH(N'dbo.imagequeue_pauses', N'paused_at') IS NULL
UNION ALL SELECT 51 AS part WHERE COL_LENGTH(N'dbo.messages', N'deleted_at') IS NULL
UNION ALL SELECT 52 AS part WHERE NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'dbo.messages') AND name = N'IX_messages_deleted');
GO
SELECT CASE WHEN EXISTS (SELECT 1 FROM sys.databases WHERE database_id = DB_ID() AND is_read_committed_snapshot_on = 1) THEN 1 ELSE 0 END;
GO
SELECT CASE WHEN OBJECT_ID(N'HangFire.Schema', N'U') IS NULL THEN 0 ELSE 1 END;
GO
SELECT CAST(compatibility_level AS int) FROM sys.databases WHERE database_id = DB_ID();
GO
SELECT COUNT(*) FROM dbo.messages WHERE queued_at IS NOT NULL AND status = @Status;
GO
SELECT MAX([Version]) FROM [HangFire].[Schema];
GO
SELECT TOP (1) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL ORDER BY id;
GO
SELECT TOP (1) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE job_id = @JobId AND queued_at IS NOT NULL AND deleted_at IS NULL ORDER BY id;
GO
SELECT TOP (@Count) waiting.Id, waiting.JobId
FROM [HangFire].[JobQueue] AS waiting WITH (READPAST, READCOMMITTEDLOCK, FORCESEEK)
JOIN [HangFire].[Job] AS job ON job.Id = waiting.JobId
WHERE waiting.[Queue] = @Front AND waiting.Id > @FrontAfter
    AND ((waiting.FetchedAt IS NULL AND job.StateName IN (N'Enqueued', N'Scheduled'))
    OR (waiting.FetchedAt < DATEADD(second, @Invisible, GETUTCDATE()) AND job.StateName IN (N'Enqueued', N'Scheduled', N'Processing')))
ORDER BY waiting.Id;
GO
SELECT TOP (@Limit) c.id AS Id, c.username AS Username, c.title AS Title, c.created_at AS CreatedAt, m.id AS LastMessageId, m.updated_at AS UpdatedAt
FROM dbo.conversations AS c
JOIN dbo.messages AS m ON m.id = (SELECT MAX(newest.id) FROM dbo.messages AS newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
WHERE c.username = @Username AND m.id < @Before
ORDER BY m.id DESC;
GO
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision
FROM dbo.messages
WHERE revision >= @Since
ORDER BY revision DESC;
GO
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision
FROM dbo.messages
WHERE queued_at IS NOT NULL AND status = @Status
ORDER BY queued_at DESC, id DESC;
GO
SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision
FROM dbo.messages
WHERE queued_at IS NOT NULL AND status = N'processing' AND queued_at >= @QueuedAt AND (queued_at > @QueuedAt OR id > @Id)
    AND (heartbeat_at IS NULL OR heartbeat_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME()))
ORDER BY queued_at, id;
GO
SELECT TOP (@Limit) id, JSON_VALUE(extra_metadata, N'$."error_code"'), backend, queued_at, updated_at,
    TRY_CAST(JSON_VALUE(extra_metadata, N'$."result"."duration_seconds"') AS float)
FROM dbo.messages
WHERE queued_at IS NOT NULL AND status = @Status AND queued_at > DATEADD(second, -@Age, SYSUTCDATETIME())
ORDER BY queued_at DESC, id DESC;
GO
SELECT TOP (@Limit) id, queued_at, hangfire_job_id, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0)
FROM dbo.messages
WHERE queued_at IS NOT NULL AND status = N'queued' AND queued_at >= @QueuedAt AND (queued_at > @QueuedAt OR id > @Id)
ORDER BY queued_at, id;
GO
SELECT TOP (@Limit) id, queued_at, hangfire_job_id, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0)
FROM dbo.messages
WHERE queued_at IS NOT NULL AND status = N'queued' AND queued_at >= @QueuedAt AND (queued_at > @QueuedAt OR id > @Id) AND hangfire_job_id IS NULL AND queued_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME())
ORDER BY queued_at, id;
GO
SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision, ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)) AS Username
FROM dbo.messages
WHERE id IN (SELECT those.id FROM OPENJSON(@Ids) WITH (id bigint '$') AS those)
ORDER BY revision;
GO
SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt FROM dbo.conversations WHERE id = @ConversationId AND username <> N'';
GO
SELECT id, queued_at, hangfire_job_id, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0)
FROM dbo.messages
WHERE hangfire_job_id IN (SELECT those.job COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Jobs) WITH (job nvarchar(100) '$') AS those)
    AND hangfire_job_id IS NOT NULL AND queued_at IS NOT NULL AND status = N'queued';
GO
SELECT key_xml FROM dbo.data_protection_keys ORDER BY id;
GO
SELECT name AS Name, holder AS Holder, note AS Note
FROM dbo.imagequeue_leases
WHERE LEFT(name, LEN(@Prefix)) = @Prefix AND holder IS NOT NULL AND expires_at > SYSUTCDATETIME()
ORDER BY name;
GO
SELECT name, paused_by, paused_at FROM dbo.imagequeue_pauses ORDER BY name;
GO
SET XACT_ABORT ON;
BEGIN TRANSACTION;

BEGIN
UPDATE dbo.messages
SET hangfire_job_id = @HangfireJobId, backend = @Backend, attempt = attempt + 1, heartbeat_at = SYSUTCDATETIME(), extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, NULL), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND (status = N'queued' OR (status = N'processing' AND hangfire_job_id = @HangfireJobId AND (heartbeat_at IS NULL OR heartbeat_at <= DATEADD(millisecond, -@Age, SYSUTCDATETIME()))));
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
ELSE
BEGIN
DECLARE @Task nvarchar(100) = (SELECT CONCAT(job_id, N'-', attempt) FROM dbo.messages WHERE id = @Id);
UPDATE dbo.imagequeue_leases SET note = @Task WHERE name = @Lease;
END
COMMIT TRANSACTION;
END
GO
SET XACT_ABORT ON;
BEGIN TRANSACTION;
DECLARE @Lock int;
DECLARE @UserLock nvarchar(255) = CONCAT(N'imagequeue:submit:', @Username);
EXEC @Lock = sp_getapplock @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
IF @Lock < 0
    THROW 51222, N'The user''s other submissions have not ended in time.', 1;
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
    INSERT INTO dbo.conversations (id, username, title, created_at) VALUES (@ConversationId, @Username, @Title, @Now);
DECLARE @Pending int, @PendingWork float;
SELECT @Pending = COUNT(*), @PendingWork = ISNULL(SUM(work), 0)
FROM dbo.messages
WHERE username = @Username AND queued_at IS NOT NULL AND status = N'queued';
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)
BEGIN
    ROLLBACK TRANSACTION;
    SELECT N'forbidden' AS Outcome;
END
ELSE IF EXISTS (SELECT 1 FROM dbo.messages WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL)
BEGIN
    COMMIT TRANSACTION;
    SELECT N'replay' AS Outcome, id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision
    FROM dbo.messages
    WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL;
END
ELSE IF (@Pending >= @MaxPending OR (@Pending > 0 AND @PendingWork + @Work > @MaxWork))
BEGIN
    ROLLBACK TRANSACTION;
    SELECT CASE WHEN @Pending >= @MaxPending THEN N'too many' ELSE N'too much' END AS Outcome;
END
ELSE
BEGIN
    INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work, idempotency_key, request_hash)
    OUTPUT N'added' AS Outcome, inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
    VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, SYSUTCDATETIME(), @Work, @IdempotencyKey, @RequestHash);
    COMMIT TRANSACTION;
END
GO
SET XACT_ABORT ON;
BEGIN TRANSACTION;
DECLARE @Username nvarchar(100) = (
    SELECT conversations.username FROM dbo.conversations
    WHERE conversations.id = (SELECT retried.conversation_id FROM dbo.messages AS retried WHERE retried.id = @Id));
DECLARE @Lock int;
DECLARE @UserLock nvarchar(255) = CONCAT(N'imagequeue:submit:', @Username);
EXEC @Lock = sp_getapplock @Resource = @UserLock, @LockMode = N'Exclusive', @LockOwner = N'Transaction', @LockTimeout = @LockTimeout;
IF @Lock < 0
    THROW 51222, N'The user''s other submissions have not ended in time.', 1;
DECLARE @Pending int, @PendingWork float;
SELECT @Pending = COUNT(*), @PendingWork = ISNULL(SUM(work), 0)
FROM dbo.messages
WHERE username = @Username AND queued_at IS NOT NULL AND status = N'queued';
DECLARE @Work float = (SELECT ISNULL(work, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."width"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."height"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."steps"') AS float) / 1000000, 0)) FROM dbo.messages WHERE id = @Id AND queued_at IS NOT NULL AND status IN (N'error', N'cancelled'));
IF @Work IS NOT NULL AND (@Pending >= @MaxPending OR (@Pending > 0 AND @PendingWork + @Work > @MaxWork))
BEGIN
    ROLLBACK TRANSACTION;
    SELECT CASE WHEN @Pending >= @MaxPending THEN N'too many' ELSE N'too much' END AS Outcome;
END
ELSE
BEGIN
UPDATE dbo.messages
SET queued_at = SYSUTCDATETIME(), heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, username = ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)), work = ISNULL(work, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."width"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."height"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."steps"') AS float) / 1000000, 0)), content = @Content, extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, NULL), @m7, NULL), @m8, NULL), @m9, NULL), @m10, NULL), @m11, NULL), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status IN (N'error', N'cancelled');
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
COMMIT TRANSACTION;
END
GO
SET XACT_ABORT ON;
BEGIN TRANSACTION;
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
    INSERT INTO dbo.conversations (id, username, title, created_at) VALUES (@ConversationId, @Username, @Title, @Now);
IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)
    SELECT N'forbidden' AS Outcome;
ELSE
    INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at)
    OUTPUT N'added' AS Outcome, inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
    VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now);
COMMIT TRANSACTION;
GO
SET XACT_ABORT ON;
BEGIN TRANSACTION;
UPDATE dbo.conversations
SET title = NULL
WHERE id = (SELECT erased.conversation_id FROM dbo.messages AS erased WHERE erased.id = @Id)
    AND NOT EXISTS (SELECT 1 FROM dbo.messages AS earlier WHERE earlier.conversation_id = conversations.id AND earlier.id < @Id);
BEGIN
UPDATE dbo.messages
SET extra_metadata = CASE WHEN queued_at IS NULL THEN N'{"status":"deleted"}'
        ELSE JSON_MODIFY(N'{"status":"deleted","progress":0,"queue_position":0}', N'$."job_id"', job_id) END,
    username = N'', hangfire_job_id = NULL, idempotency_key = NULL, request_hash = NULL, backend = NULL, heartbeat_at = NULL,
    work = NULL, failures = 0, deleted_at = SYSUTCDATETIME(), content = @Content, updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND deleted_at IS NULL;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
COMMIT TRANSACTION;
END
GO
SET XACT_ABORT ON;
DECLARE @Moved int, @Row bigint;
DECLARE @Behind TABLE (Id bigint NOT NULL PRIMARY KEY, JobId bigint NOT NULL);
BEGIN TRANSACTION;
DELETE FROM [HangFire].[JobQueue] WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK)
WHERE [Queue] = @From AND Id = @Id AND JobId = @JobId AND FetchedAt IS NULL;
SET @Moved = @@ROWCOUNT;
IF @Moved = 1
BEGIN
    INSERT INTO [HangFire].[JobQueue] (JobId, [Queue]) VALUES (@JobId, @Front);
    SET @Row = SCOPE_IDENTITY();
    DELETE FROM [HangFire].[JobQueue] WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK)
    OUTPUT deleted.Id, deleted.JobId INTO @Behind (Id, JobId)
    WHERE [Queue] = @Front AND Id < @Row AND FetchedAt IS NULL;
    INSERT INTO [HangFire].[JobQueue] (JobId, [Queue])
    SELECT JobId, @Front FROM @Behind ORDER BY Id;
END
COMMIT TRANSACTION;
SELECT @Moved;
GO
UPDATE [HangFire].[JobQueue] SET FetchedAt = NULL WHERE [Queue] IN (@Front, @Queue) AND JobId = @JobId AND FetchedAt IS NOT NULL;
SELECT COUNT(*) FROM [HangFire].[JobQueue] WHERE [Queue] IN (@Front, @Queue) AND JobId = @JobId;
GO
UPDATE dbo.conversations
SET title = NULL
WHERE id = (SELECT erased.conversation_id FROM dbo.messages AS erased WHERE erased.id = @Id)
    AND NOT EXISTS (SELECT 1 FROM dbo.messages AS earlier WHERE earlier.conversation_id = conversations.id AND earlier.id < @Id);
GO
UPDATE dbo.conversations SET username = N'', title = NULL WHERE id = @ConversationId AND username <> N'';
GO
UPDATE dbo.imagequeue_leases SET holder = NULL, expires_at = NULL WHERE name IN (SELECT those.name COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Names) WITH (name nvarchar(300) '$') AS those) AND holder = @Holder;
GO
UPDATE dbo.imagequeue_leases SET note = @Note WHERE name = @Name AND holder = @Holder;
GO
UPDATE dbo.messages
SET content = @Content, extra_metadata = CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND deleted_at IS NULL AND (DATALENGTH(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END) <= 524288 OR DATALENGTH(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END) < DATALENGTH(extra_metadata));
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET content = @Content, extra_metadata = JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND deleted_at IS NULL AND (DATALENGTH(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1)) <= 524288 OR DATALENGTH(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1)) < DATALENGTH(extra_metadata));
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET content = @Content, extra_metadata = JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, JSON_QUERY(@m1)), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND deleted_at IS NULL AND (DATALENGTH(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, JSON_QUERY(@m1))) <= 524288 OR DATALENGTH(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, JSON_QUERY(@m1))) < DATALENGTH(extra_metadata));
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET content = @Content, extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, NULL), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL AND queued_at IS NOT NULL AND status IN (N'queued', N'processing');
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET content = @Content, extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, @m7), @m8, @m9), @m10, NULL), @m11, JSON_QUERY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(JSON_QUERY(extra_metadata, @m11), 1) = N'{' THEN JSON_QUERY(extra_metadata, @m11) ELSE N'{}' END, @m12, @m13), @m14, @m15), @m16, @m17), @m18, @m19), @m20, NULL), @m21, @m22))), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status = N'processing' AND attempt = @Attempt;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET content = @Content, updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND deleted_at IS NULL;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET extra_metadata = JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, N'$."queue_position"', (SELECT MAX(moved.position) FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved WHERE moved.id = messages.id)),
    updated_at = @Now
WHERE id IN (SELECT moved.id FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved) AND queued_at IS NOT NULL AND status = N'queued' AND hangfire_job_id IS NOT NULL AND EXISTS (
    SELECT 1 FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved
    WHERE moved.id = messages.id AND moved.job COLLATE Latin1_General_100_BIN2 = messages.hangfire_job_id
        AND moved.position <> ISNULL(TRY_CAST(JSON_VALUE(messages.extra_metadata, N'$."queue_position"') AS int), -1));
GO
UPDATE dbo.messages
SET hangfire_job_id = (SELECT MAX(attached.job) FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', replaces nvarchar(100) '$.replaces') AS attached WHERE attached.id = messages.id), updated_at = @Now
OUTPUT inserted.id
WHERE id IN (SELECT attached.id FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', replaces nvarchar(100) '$.replaces') AS attached) AND queued_at IS NOT NULL AND status = N'queued' AND EXISTS (
    SELECT 1 FROM OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', replaces nvarchar(100) '$.replaces') AS attached
    WHERE attached.id = messages.id AND ISNULL(attached.replaces COLLATE Latin1_General_100_BIN2, N'') = ISNULL(messages.hangfire_job_id, N''));
GO
UPDATE dbo.messages
SET hangfire_job_id = @HangfireJobId, backend = @Backend, attempt = attempt + 1, heartbeat_at = SYSUTCDATETIME(), extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, NULL), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND (status = N'queued' OR (status = N'processing' AND hangfire_job_id = @HangfireJobId AND (heartbeat_at IS NULL OR heartbeat_at <= DATEADD(millisecond, -@Age, SYSUTCDATETIME()))));
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET hangfire_job_id = @HangfireJobId, updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status = N'queued' AND hangfire_job_id = @Replaces;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET heartbeat_at = NULL, failures = failures + 1, username = ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)), work = ISNULL(work, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."width"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."height"') AS float)
        * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."steps"') AS float) / 1000000, 0)), extra_metadata = JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), @m2, @m3), @m4, @m5), @m6, NULL), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status = N'processing' AND attempt = @Attempt;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET heartbeat_at = SYSUTCDATETIME(), extra_metadata = JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status = N'processing' AND attempt = @Attempt AND ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."progress"') AS int), 0) <= @Progress;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
UPDATE dbo.messages
SET heartbeat_at = SYSUTCDATETIME(), extra_metadata = JSON_MODIFY(CASE WHEN LEFT(extra_metadata, 1) = N'{' THEN extra_metadata WHEN LEFT(LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')), 1) = N'{' THEN LTRIM(REPLACE(REPLACE(REPLACE(extra_metadata, NCHAR(9), N' '), NCHAR(10), N' '), NCHAR(13), N' ')) ELSE N'{}' END, @m0, @m1), updated_at = @Now
OUTPUT inserted.id AS Id, inserted.conversation_id AS ConversationId, inserted.role AS Role, inserted.content AS Content,
    inserted.extra_metadata AS ExtraMetadata, inserted.created_at AS CreatedAt, inserted.updated_at AS UpdatedAt,
    inserted.hangfire_job_id AS HangfireJobId, inserted.idempotency_key AS IdempotencyKey, inserted.request_hash AS RequestHash,
    inserted.attempt AS Attempt,
    inserted.failures AS Failures, inserted.backend AS Backend, inserted.heartbeat_at AS HeartbeatAt, inserted.queued_at AS QueuedAt,
    inserted.deleted_at AS DeletedAt, inserted.revision AS Revision
WHERE id = @Id AND queued_at IS NOT NULL AND status = N'processing' AND attempt = @Attempt;
IF @@ROWCOUNT = 0
    SELECT id AS Id, conversation_id AS ConversationId, role AS Role, content AS Content, extra_metadata AS ExtraMetadata,
    created_at AS CreatedAt, updated_at AS UpdatedAt, hangfire_job_id AS HangfireJobId, idempotency_key AS IdempotencyKey,
    request_hash AS RequestHash, attempt AS Attempt, failures AS Failures, backend AS Backend, heartbeat_at AS HeartbeatAt, queued_at AS QueuedAt,
    deleted_at AS DeletedAt, revision AS Revision FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;
GO
