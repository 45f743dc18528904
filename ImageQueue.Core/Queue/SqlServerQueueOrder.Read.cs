namespace ImageQueue.Core.Queue;

/// <summary>Reads the rows: the whole queue once, then the head, the tails, and a page between them that comes round.</summary>
internal sealed partial class SqlServerQueueOrder
{
    /// <returns>The read to wait for; null when the last one serves.</returns>
    private Task? BeginReadingIfDue()
    {
        lock (_lock)
        {
            var age = time.GetElapsedTime(_readBegan);
            if (_reading is null && (!_isKnown || age >= ReadInterval))
                BeginReading();
            return !_isKnown || age > Patience ? _reading : null;
        }
    }

    private Task BeginReading()
    {
        _removedMeanwhile.Clear();
        return _reading = Task.Run(ReadAsync);
    }

    private async Task ReadAsync()
    {
        try
        {
            var (began, at) = (time.GetTimestamp(), time.GetUtcNow());
            lock (_lock)
                _enqueuedBefore = [.. _unread.Keys];
            var isFirst = !_isKnown;
            if (isFirst)
                await ReadAllAsync();
            else
                await ReadChangesAsync();
            lock (_lock)
            {
                // Each read comes to the end of every round: what was enqueued before it has been read, or has left.
                foreach (var job in _enqueuedBefore)
                    _unread.Remove(job);
                (_isKnown, _readBegan, _readAt) = (true, began, at);
            }

            await RepairRoundsAsync(isFirst);
            if (_isAway)
                logger.LogInformation("Hangfire's queue is read again.");
            _isAway = false;
        }
        catch (Exception e)
        {
            // Logged once: a database can be away for hours, and its other users log it as well.
            logger.Log(
                _isAway || e is StoreUnavailableException ? LogLevel.Debug : LogLevel.Warning, e,
                "Hangfire's queue could not be read or reordered; the last known order serves.");
            _isAway = true;
            lock (_lock)
                _readBegan = time.GetTimestamp(); // The next try is one interval away.
        }
        finally
        {
            lock (_lock)
                _reading = null;
            Invalidate();
        }
    }

    /// <summary>The whole queue, once, in pages.</summary>
    private async Task ReadAllAsync()
    {
        var index = new QueueIndex();
        for (var after = QueuePage.Start; ;)
        {
            var page = await rows.ReadAsync(after, long.MaxValue, PageSize, CancellationToken.None);
            lock (_lock)
            {
                index.Replace(after, page.UpTo, page.Rows);
                foreach (var row in page.Rows)
                    NoteRow(row);
            }

            if (page.IsLast)
                break;
            after = page.UpTo;
        }

        lock (_lock)
        {
            foreach (var job in _removedMeanwhile.Select(JobKey.Parse))
            {
                index.Remove(job);
                ForgetUser(job);
            }

            _index = index;
        }
    }

    private async Task ReadChangesAsync()
    {
        var head = await ReadPageAsync(QueuePage.Start, long.MaxValue);
        if (head.IsLast)
            return; // That was all.

        // A row may have been written with a lower number than others and not committed when they were read: the page that comes
        // round finds it, as it finds what other processes deleted in the middle.
        if (_cursor < head.UpTo || _cursor >= LastPlace())
            _cursor = head.UpTo;
        var from = _cursor;
        var page = await ReadPageAsync(from, long.MaxValue);
        _cursor = page.UpTo;
        if (page.IsLast && (Rounds == 1 || from == head.UpTo))
            return; // New rows are behind it.

        // The new rows of each round, which have the highest numbers there; and those of rounds that this process does not use.
        for (var round = 1; round <= Rounds; round++)
            await ReadTailAsync(QueuePlace.Of(round, _lastNumbers[round]), QueuePlace.EndOf(round));
        await ReadTailAsync(Math.Max(LastPlace(), QueuePlace.EndOf(Rounds)), long.MaxValue);
    }

    private async Task ReadTailAsync(long after, long upTo)
    {
        for (QueuePage? page = null; page is not { IsLast: true }; after = page.UpTo)
            page = await ReadPageAsync(after, upTo);
    }

    private long LastPlace()
    {
        lock (_lock)
            return _index.LastPlace;
    }

    private async Task<QueuePage> ReadPageAsync(long after, long upTo)
    {
        var page = await rows.ReadAsync(after, upTo, PageSize, CancellationToken.None);
        lock (_lock)
        {
            IReadOnlyList<QueueRow> still =
                _removedMeanwhile.Count == 0 ? page.Rows : [.. page.Rows.Where(row => !_removedMeanwhile.Contains(JobKey.Format(row.Job)))];
            foreach (var gone in _index.Replace(after, page.UpTo, still))
                ForgetUser(gone);
            foreach (var row in still)
                NoteRow(row);
            foreach (var job in _unread.Keys.Where(job => !_enqueuedBefore.Contains(job) && _index.PlaceOf(job) is null))
                AddUnread(job);
            _latest = null;
        }

        return page;
    }

    /// <summary>Until its number is read a new entry is at the end of its round.</summary>
    private void AddUnread(Guid job)
    {
        var (round, user) = _unread[job];
        _index.Add(job, Math.Max(_index.LastPlaceUpTo(QueuePlace.EndOf(round)), QueuePlace.Of(round, _lastNumbers[round])) + 1);
        NoteUser(job, user);
    }

    /// <remarks>Only a read raises the last number: rows with lower numbers than one that was moved may not have been read yet.</remarks>
    private void NoteRow(QueueRow row)
    {
        if (QueuePlace.RoundOf(row.Place) is > 0 and <= QueuePlace.LastRound and var round)
            _lastNumbers[round] = Math.Max(_lastNumbers[round], QueuePlace.NumberOf(row.Place));
        NoteUser(row.Job, row.User);
    }
}
