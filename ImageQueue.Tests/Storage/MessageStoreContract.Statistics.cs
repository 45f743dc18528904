using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>How the hours went: what transitions note of themselves, and what is kept of it.</summary>
public abstract partial class MessageStoreContract
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    /// <summary>Each claim and each end once, with what belongs to it; whatever becomes of the row after that.</summary>
    [Test]
    public async Task Transitions_AddSamples_ThatOutliveTheRow()
    {
        var complete = await InStateAsync(MessageStatus.Queued);
        Time.Advance(TimeSpan.FromSeconds(30));
        await Database.AgeAsync(complete.Id, Database.HasOwnClock ? TimeSpan.FromSeconds(30) : TimeSpan.Zero);
        var began = Applied(await Store.ClaimAsync(complete.Id, HangfireJob, null, null, CancellationToken.None));
        Applied(await CompleteAsync(began));
        var failed = await FailedAsync("hf-2");
        Applied(await Store.RetryAsync(failed.Id, 1, UserLimits.None, CancellationToken.None));
        Applied(await Store.CancelAsync(failed.Id, "x", CancellationToken.None));
        var waiting = await SubmitAsync();
        Applied(await Store.AttachJobAsync(waiting.Id, "hf-3", null, CancellationToken.None));
        Applied(await Store.CancelByHangfireJobAsync("hf-3", "x", CancellationToken.None));
        Applied(await Store.EraseAsync(complete.Id, CancellationToken.None));

        var samples = await SamplesAsync();

        Assert.That(samples.Select(sample => (sample.Kind, sample.Code)), Is.EquivalentTo(new (string, string?)[]
        {
            (StatisticsKinds.Claimed, null), (StatisticsKinds.Complete, null), (StatisticsKinds.Claimed, null),
            (StatisticsKinds.Error, ErrorCodes.BackendFailed), (StatisticsKinds.Cancelled, null), (StatisticsKinds.Cancelled, null),
        }));
        Assert.That(samples.Single(sample => sample.Kind == StatisticsKinds.Complete).Seconds, Is.EqualTo(12.345));
        Assert.That(
            samples.Where(sample => sample.Kind == StatisticsKinds.Claimed).Max(sample => sample.Seconds),
            Is.EqualTo(30).Within(Database.HasOwnClock ? 5 : 0));
        Assert.That(
            samples.Where(sample => sample.Kind is StatisticsKinds.Error or StatisticsKinds.Cancelled).Select(sample => sample.Seconds),
            Is.All.Null);
        Assert.That(
            (await Store.CountSamplesAsync(Hour, CancellationToken.None)).Select(count => (count.Kind, count.Code, count.Count)),
            Is.EquivalentTo(
                new (string, string?, int)[]
                {
                    (StatisticsKinds.Claimed, null, 2), (StatisticsKinds.Complete, null, 1),
                    (StatisticsKinds.Error, ErrorCodes.BackendFailed, 1), (StatisticsKinds.Cancelled, null, 2),
                }));
    }

    /// <summary>Counts, medians and errors by backend; the lower of two middle values, and none of what is older.</summary>
    [Test]
    public async Task ListBackendResults_AreOfTheTimeSpan_ByBackend()
    {
        foreach (var (backend, seconds) in new[] { ("gpu1", 4), ("gpu1", 2), ("gpu1", 9), ("gpu1", 3), ("gpu2", 50) })
            Applied(await CompleteAsync(await OnAsync(backend), TimeSpan.FromSeconds(seconds)));
        var work = ImageRequest().Work;
        var failing = await OnAsync("gpu3");
        Applied(await Store.FailAsync(
            failing.Id, failing.Attempt, "x", new RequestFailure(ErrorCodes.OutOfMemory, "x"), CancellationToken.None));
        Applied(await Store.CancelAsync((await OnAsync("gpu4")).Id, "x", CancellationToken.None));
        await OnAsync("gpu1");

        var results = await Store.ListBackendResultsAsync(Hour, CancellationToken.None);

        Assert.That(
            results.Select(one => (one.Backend, one.LastHour, one.Median)),
            Is.EqualTo(new (string, int, double?)[] { ("gpu1", 4, 3), ("gpu2", 1, 50), ("gpu3", 0, null) }));
        Assert.That(results.Select(one => one.Pace), Is.EqualTo(new double?[] { 3 / work, 50 / work, null }).Within(1e-9));
        Assert.That(results[0].Errors, Is.Empty);
        Assert.That(results[2].Errors, Is.EqualTo(new Dictionary<string, int> { [ErrorCodes.OutOfMemory] = 1 }));
        Assert.That(await Store.ListBackendResultsAsync(TimeSpan.FromSeconds(-60), CancellationToken.None), Is.Empty);

        async Task<Message> OnAsync(string backend) => Applied(
            await Store.ClaimAsync((await SubmitAsync()).Id, $"hf-{Guid.NewGuid()}", backend, null, CancellationToken.None));
    }

    /// <summary>What is refused has not happened.</summary>
    [Test]
    public async Task Transitions_NoteNothing_WhenTheyAreRefused()
    {
        var complete = await InStateAsync(MessageStatus.Complete);
        var before = await SamplesAsync();

        Assert.That((await CompleteAsync(complete)).Applied, Is.False);
        Assert.That(
            (await Store.FailAsync(
                complete.Id, complete.Attempt, "x", new RequestFailure(ErrorCodes.TimedOut, "x"), CancellationToken.None))
                .Applied,
            Is.False);
        Assert.That((await Store.CancelAsync(complete.Id, "x", CancellationToken.None)).Applied, Is.False);
        Assert.That((await Store.CancelByHangfireJobAsync(HangfireJob, "x", CancellationToken.None)).Applied, Is.False);
        Assert.That((await Store.ClaimAsync(complete.Id, HangfireJob, null, null, CancellationToken.None)).Applied, Is.False);

        Assert.That(await SamplesAsync(), Is.EqualTo(before));
    }

    /// <summary>Of two rows of an hour the one with the higher count stays, in either order.</summary>
    [Test]
    public async Task SaveStatistics_KeepsTheHigherCount()
    {
        var hour = (await Store.ReadStatisticsStateAsync(CancellationToken.None)).Now.AddMinutes(-30);
        hour = new DateTimeOffset(hour.Year, hour.Month, hour.Day, hour.Hour, 0, 0, TimeSpan.Zero);
        var full = new StatisticsRow(hour, StatisticsKinds.Claimed, "", 7, 1.5, 20);
        var error = new StatisticsRow(hour, StatisticsKinds.Error, ErrorCodes.TimedOut, 1);

        await Store.SaveStatisticsAsync([full with { Count = 3, Median = 9 }, error], CancellationToken.None);
        await Store.SaveStatisticsAsync([full], CancellationToken.None);
        await Store.SaveStatisticsAsync(
            [full with { Count = 6, Median = null }, error with { Code = ErrorCodes.Stalled, Count = 2 }], CancellationToken.None);
        await Store.SaveStatisticsAsync([full], CancellationToken.None);

        Assert.That(
            await Store.ListStatisticsAsync(TimeSpan.FromDays(1), CancellationToken.None),
            Is.EqualTo(new[] { full, error with { Code = ErrorCodes.Stalled, Count = 2 }, error }));
        Assert.That((await Store.ReadStatisticsStateAsync(CancellationToken.None)).NewestHour, Is.EqualTo(hour));
        Assert.That(
            await Store.ListStatisticsAsync(TimeSpan.FromSeconds(1), CancellationToken.None),
            Is.Empty.Or.Count.EqualTo(3),
            "the hour may have started this second");
    }

    /// <summary>Samples and rows are removed by age, a bounded number at a time.</summary>
    [Test]
    public async Task ForgetStatistics_RemovesOldRows_UpToTheLimit()
    {
        Assert.That(await Store.ReadStatisticsStateAsync(CancellationToken.None) is { OldestSample: null, NewestHour: null }, Is.True);
        await InStateAsync(MessageStatus.Complete);
        await FailedAsync("hf-2");
        var state = await Store.ReadStatisticsStateAsync(CancellationToken.None);
        Assert.That(state.OldestSample, Is.EqualTo(state.Now).Within(TimeSpan.FromMinutes(1)));
        StatisticsRow[] rows = [
            new(state.Now.AddDays(-100), StatisticsKinds.Queue, "", 5), new(state.Now.AddDays(-1), StatisticsKinds.Queue, "", 5)];
        await Store.SaveStatisticsAsync(rows, CancellationToken.None);

        Assert.That(
            await Store.ForgetStatisticsAsync(state.Now.AddDays(-1), state.Now.AddDays(-90), 10, CancellationToken.None), Is.EqualTo(1));
        Assert.That(await SamplesAsync(), Has.Count.EqualTo(4));
        Assert.That(
            (await Store.ListStatisticsAsync(TimeSpan.FromDays(365), CancellationToken.None)).Single().Hour,
            Is.EqualTo(rows[1].Hour).Within(TimeSpan.FromMilliseconds(1)));

        Assert.That(
            await Store.ForgetStatisticsAsync(state.Now.AddMinutes(1), state.Now.AddDays(-90), 3, CancellationToken.None), Is.EqualTo(3));
        Assert.That(
            await Store.ForgetStatisticsAsync(state.Now.AddMinutes(1), state.Now.AddDays(-90), 3, CancellationToken.None), Is.EqualTo(1));
        Assert.That(await SamplesAsync(), Is.Empty);
    }

    private async Task<Message> FailedAsync(string job)
    {
        var message = await SubmitAsync();
        message = Applied(await Store.ClaimAsync(message.Id, job, null, null, CancellationToken.None));
        return Applied(
            await Store.FailAsync(
                message.Id, message.Attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None));
    }

    private async Task<IReadOnlyList<StatisticsSample>> SamplesAsync()
    {
        var now = (await Store.ReadStatisticsStateAsync(CancellationToken.None)).Now;
        return await Store.ListSamplesAsync(now - Hour, now + Hour, CancellationToken.None);
    }
}
