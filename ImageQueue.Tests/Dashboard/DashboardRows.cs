using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Tests.Dashboard;

/// <summary>Fills a SQLite database by SQL: as many submits would take minutes.</summary>
internal static class DashboardRows
{
    /// <summary>Creates the database in the folder of an app that has not been started yet. Its queue is paused.</summary>
    /// <param name="waiting">Waiting requests of a hundred users, an hour to a second old.</param>
    /// <param name="kept">Finished requests, some 22,000 a day: 90 % complete, 5 % in error, 5 % cancelled.</param>
    /// <param name="flood">How many of the waiting requests, the oldest, are the user "Flooder"'s.</param>
    public static async Task FillAsync(TemporaryFolder folder, int waiting, int kept, int flood = 0)
    {
        var file = $"Data Source={Path.Combine(folder.Path, "imagequeue.db")}";
        await using (var store = new SqliteMessageStore(file, TimeProvider.System, new AsyncSignal()))
        {
            await store.PrepareAsync(CancellationToken.None);
            await store.PauseAsync("queue", "a test", CancellationToken.None);
        }

        await using var connection = new SqliteConnection(file);
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText =
            """
            WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
            INSERT INTO conversations (id, username, created_at) SELECT 'c' || i, 'user ' || i, strftime('%Y-%m-%dT%H:%M:%fZ', 'now',
                '-2 days') FROM n;

            INSERT INTO conversations (id, username, created_at) VALUES ('flood', 'Flooder', strftime('%Y-%m-%dT%H:%M:%fZ', 'now',
                '-2 days'));

            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $kept),
            ended (i, status, code, forge, at) AS (
                SELECT i, CASE WHEN i % 10 > 0 THEN 'complete' WHEN i % 20 > 0 THEN 'error' ELSE 'cancelled' END,
                    CASE i / 20 % 3 WHEN 0 THEN 'out_of_memory' WHEN 1 THEN 'timed_out' ELSE 'backend_failed' END,
                    'gpu' || (1 + i % 2), 80000.0 * ($kept - i) / min($kept, 22000) + 60
                FROM n WHERE $kept > 0)
            INSERT INTO messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, finished_at, username,
                work, attempt,
                backend, events, revision)
            SELECT 'c' || (i % 100), 'bot', '[IMAGE]',
                json_patch(
                    json_object(
                        'status', status, 'progress', CASE status WHEN 'complete' THEN 100 ELSE 0 END, 'queue_position', 0, 'job_id',
                            printf('%032x', i),
                        'prompt', 'bir kedi, yağlı boya, sabah ışığı, numara ' || i, 'settings', json_object('width', 1024, 'height', 768,
                            'steps', 20)),
                    CASE status
                        WHEN 'complete' THEN json_object('result', json_object('seed', i, 'width', 1024, 'height', 768, 'backend', forge,
                            'duration_seconds', 4 + i % 7))
                        WHEN 'error' THEN json_object('error_code', code, 'error', 'Ekran kartının belleği yetmedi.')
                        ELSE '{}' END),
                strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || (at + 30) || ' seconds'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || at ||
                    ' seconds'),
                strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || (at + 30) || ' seconds'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || at ||
                    ' seconds'),
                'user ' || (i % 100), 15.7, 1, forge,
                strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || (at + 6) || ' seconds') || char(9) || 'claimed' || char(9) || 1 || char(9) ||
                    forge || char(9) || char(10)
                    || strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || at || ' seconds') || char(9) || status || char(9) || 1 || char(9) ||
                        forge || char(9) || char(10),
                i
            FROM ended;

            INSERT INTO statistics_samples (at, kind, code, seconds, backend, work)
            SELECT finished_at, status, extra_metadata ->> '$.error_code', extra_metadata ->> '$.result.duration_seconds', backend, work
            FROM messages WHERE finished_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day');

            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $waiting)
            INSERT INTO messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, username, work,
                revision)
            SELECT CASE WHEN i <= $flood THEN 'flood' ELSE 'c' || (i % 100) END, 'bot', '[IMAGE_PENDING]',
                json_object(
                    'status', 'queued', 'progress', 0, 'queue_position', i, 'job_id', printf('%032x', 10000000 + i),
                    'prompt', 'bir gemi, fırtınada, numara ' || i, 'settings', json_object('width', 1024, 'height', 1024, 'steps', 20)),
                at, at, at, CASE WHEN i <= $flood THEN 'Flooder' ELSE 'user ' || (i % 100) END, 21, $kept + i
            FROM (SELECT i, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || (3600.0 * ($waiting - i) / $waiting + 1) || ' seconds') AS at FROM
                n WHERE $waiting > 0);
            """;
        command.Parameters.AddWithValue("$waiting", waiting);
        command.Parameters.AddWithValue("$kept", kept);
        command.Parameters.AddWithValue("$flood", flood);
        await command.ExecuteNonQueryAsync();
    }
}
