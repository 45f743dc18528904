using ImageQueue.Core.Hosting;
using Moq;

namespace ImageQueue.Tests.Backends;

/// <summary>The leases of a database that several pools may share: the part of the store that a pool uses.</summary>
internal sealed class FakeLeases
{
    private readonly Mock<ILeaseStore> _store = new(MockBehavior.Strict);
    private readonly TimeProvider _time;
    private readonly Dictionary<string, Row> _rows = [];
    private readonly Lock _gate = new();

    public FakeLeases(TimeProvider time)
    {
        _time = time;
        _store.Setup(
            store =>
                store.AcquireLeasesAsync(
                    It.IsAny<string>(), It.IsAny<IReadOnlyCollection<string>>(), It.IsAny<TimeSpan>(), It.IsAny<CancellationToken>()))
            .Returns(
                (string holder, IReadOnlyCollection<string> names, TimeSpan term,
                    CancellationToken _) => Run<IReadOnlyList<Lease>>(() => Acquire(holder, names, term)));
        _store.Setup(
            store => store.NoteLeaseAsync(It.IsAny<string>(), It.IsAny<string>(), It.IsAny<string?>(), It.IsAny<CancellationToken>()))
            .Returns((string holder, string name, string? note, CancellationToken _) => Run(() =>
            {
                if (!_rows.TryGetValue(name, out var row) || row.Holder != holder)
                    return false;
                row.Note = note;
                return true;
            }));
        _store.Setup(
            store => store.ReleaseLeasesAsync(It.IsAny<string>(), It.IsAny<IReadOnlyCollection<string>>(), It.IsAny<CancellationToken>()))
            .Returns((string holder, IReadOnlyCollection<string> names, CancellationToken _) => Run(() =>
            {
                foreach (var name in names)
                {
                    if (_rows.TryGetValue(name, out var row) && row.Holder == holder)
                        row.Holder = null;
                }

                return true;
            }));
    }

    public ILeaseStore Store => _store.Object;

    /// <summary>Whether the database cannot be reached.</summary>
    public bool IsAway { get; set; }

    /// <summary>The holder now, by the database's clock; null: none.</summary>
    public string? HolderOf(string name)
    {
        lock (_gate)
            return _rows.TryGetValue(name, out var row) && row.Until > _time.GetUtcNow() ? row.Holder : null;
    }

    public string? NoteOf(string name)
    {
        lock (_gate)
            return _rows.GetValueOrDefault(name)?.Note;
    }

    /// <summary>As the claim of a message row does it, or a process that is gone now has done.</summary>
    public void Note(string name, string? note)
    {
        lock (_gate)
        {
            if (!_rows.TryGetValue(name, out var row))
                _rows[name] = row = new Row();
            row.Note = note;
        }
    }

    /// <summary>Another process has it, for so long.</summary>
    public void Give(string name, string holder, TimeSpan term)
    {
        lock (_gate)
            _rows[name] = new Row { Holder = holder, Until = _time.GetUtcNow() + term, Note = _rows.GetValueOrDefault(name)?.Note };
    }

    private List<Lease> Acquire(string holder, IReadOnlyCollection<string> names, TimeSpan term)
    {
        var taken = new List<Lease>();
        var now = _time.GetUtcNow();
        foreach (var name in names)
        {
            if (!_rows.TryGetValue(name, out var row))
                _rows[name] = row = new Row();
            if (row.Holder is not null && row.Holder != holder && row.Until > now)
                continue;
            (row.Holder, row.Until) = (holder, now + term);
            taken.Add(new Lease(name, row.Note));
        }

        return taken;
    }

    private Task<T> Run<T>(Func<T> run)
    {
        if (IsAway)
            return Task.FromException<T>(new StoreUnavailableException("the database is away", new IOException("refused")));
        lock (_gate)
            return Task.FromResult(run());
    }

    private sealed class Row
    {
        public string? Holder { get; set; }

        public DateTimeOffset Until { get; set; }

        public string? Note { get; set; }
    }
}
