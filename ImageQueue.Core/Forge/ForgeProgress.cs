namespace ImageQueue.Core.Forge;

/// <summary>The state of a task at a backend.</summary>
public enum ForgeTaskState
{
    /// <summary>The backend does not know it, or cannot say.</summary>
    Unknown,

    /// <summary>It waits for Forge's lock.</summary>
    Queued,

    /// <summary>It is being generated.</summary>
    Active,

    /// <summary>It has ended, whatever the outcome.</summary>
    Completed,
}

/// <summary>The progress of a task.</summary>
/// <param name="Fraction">0..1 as Forge reports it, null when it does not.</param>
/// <param name="PreviewImage">The encoded live preview, when requested and newer than the last one.</param>
/// <param name="PreviewId">Forge's number of that preview.</param>
public sealed record ForgeProgress(
    ForgeTaskState State, double? Fraction = null, ReadOnlyMemory<byte>? PreviewImage = null, long? PreviewId = null)
{
    /// <summary>Forge reports 0.01 + step / steps (<c>modules/progress.py</c>): up to this, no step is done.</summary>
    private const double FirstStep = 0.0101;

    /// <summary>Whose progress it is.</summary>
    public ForgeProgressSource Source { get; init; }

    /// <summary>Whether the model is being loaded, or the prompt encoded: the task is active, and no step is done.</summary>
    public bool IsLoading => State == ForgeTaskState.Active && Fraction <= FirstStep;
}

/// <summary>Whose progress a <see cref="ForgeProgress"/> is.</summary>
public enum ForgeProgressSource
{
    /// <summary>That of the task itself.</summary>
    Task,

    /// <summary>That of whatever the backend generates, which may be another client's image.</summary>
    Server,

    /// <summary>None: the backend does not report progress.</summary>
    None,
}

/// <summary>What a backend is doing, for any client.</summary>
/// <param name="IsIdle">It has no job.</param>
/// <param name="WasInterrupted">Its current or last job was interrupted or skipped before its last step.</param>
/// <param name="Fraction">0..1, null when it does not say.</param>
public sealed record ForgeServerState(bool IsIdle, bool WasInterrupted, double? Fraction);
