namespace ImageQueue.Web.Simulator;

/// <summary>Forge's <c>shared.state</c> (<c>modules/shared_state.py</c>).</summary>
internal sealed class SimulatorState
{
    public bool Interrupted { get; set; }

    public string Job { get; set; } = "";

    public int JobCount { get; set; }

    public string JobTimestamp { get; set; } = "0";

    public int JobNo { get; set; }

    public int SamplingStep { get; set; }

    public int SamplingSteps { get; set; }

    public long StartedAt { get; set; }

    public SimulatedTask? SimulatedTask { get; set; }

    /// <summary>The number of the newest live preview; it is made on request, and only some steps after the one before.</summary>
    public int PreviewId { get; set; }

    /// <summary>The step that the newest live preview shows.</summary>
    public int PreviewStep { get; set; }

    /// <summary>The newest live preview as (number, step); null while there is none (<c>shared_state.py</c>, set_current_image).</summary>
    public (int Id, int Step)? Preview()
    {
        if (SimulatedTask is not null && SamplingStep - PreviewStep >= SimulatorCatalogue.StepsPerPreview)
            (PreviewId, PreviewStep) = (PreviewId + 1, SamplingStep);
        return SimulatedTask is not null && PreviewId > 0 ? (PreviewId, PreviewStep) : null;
    }

    public TaskCompletionSource InterruptSignal { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The part that <c>/sdapi/v1/progress</c> shows.</summary>
    public object Shown() => new
    {
        skipped = false,
        interrupted = Interrupted,
        stopping_generation = false,
        job = Job,
        job_count = JobCount,
        job_timestamp = JobTimestamp,
        job_no = JobNo,
        sampling_step = SamplingStep,
        sampling_steps = SamplingSteps,
    };
}
