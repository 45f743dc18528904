namespace ImageQueue.Web.Simulator;

public sealed partial class ForgeSimulator
{
    /// <summary><c>GET /internal/pending-tasks</c> (progress.py).</summary>
    internal object PendingTasks()
    {
        lock (_gate)
            return new { size = _pending.Count, tasks = _pending.ToArray() };
    }

    /// <summary><c>POST /internal/progress</c>: of one task (progress.py, progressapi).</summary>
    internal SimulatedAnswer TaskProgress(ReadOnlyMemory<byte> body)
    {
        var fields = new BodyFields(body);

        // Missing is None and equals the current task of an idle server; null is not allowed.
        var task = fields.Text("id_task", notNull: true);
        var seen = fields.Integer("id_live_preview", notNull: true) ?? -1;
        var withPreview = fields.Flag("live_preview") ?? true;
        return fields.Errors.Count == 0
            ? SimulatedAnswer.Json(TaskProgress(task, seen, withPreview))
            : SimulatedAnswer.Invalid(fields.Errors);
    }

    private InternalProgress TaskProgress(string? task, long seen, bool withPreview)
    {
        InternalProgress answer;
        SimulatedTask? generation;
        (int Id, int Step)? preview;
        lock (_gate)
        {
            var completed = task is not null && _finished.Contains(task);
            var place = task is null ? -1 : _pending.IndexOf(task);
            if (task != _current)
            {
                var info = place >= 0 ? $"In queue: {place + 1}/{_pending.Count}" : "Waiting...";
                return new InternalProgress(false, place >= 0, completed, null, null, null, -1, info);
            }

            var progress = _state.JobCount > 0 ? Fraction() : 0;
            answer = new InternalProgress(true, place >= 0, completed, progress, Eta(progress), null, seen, null);
            generation = _state.SimulatedTask;
            preview = withPreview ? _state.Preview() : null;
        }

        // A new preview has a new id; the client's own is not sent again.
        return generation is not null && preview is { } one && one.Id != seen
            ? answer with
            {
                LivePreview = $"data:image/jpeg;base64,{Convert.ToBase64String(generation.Preview(one.Step))}",
                IdLivePreview = one.Id,
            }
            : answer;
    }

    /// <summary><c>GET /sdapi/v1/progress</c>: of the running task (api.py, progressapi).</summary>
    internal object GlobalProgress(bool skipImage)
    {
        object state;
        var progress = 0.0;
        double? eta = null;
        SimulatedTask? generation = null;
        (int Id, int Step)? preview = null;
        lock (_gate)
        {
            state = _state.Shown();
            if (_state.JobCount != 0)
            {
                progress = 0.01 + (_state.JobCount > 0 ? Fraction() : 0);
                eta = Eta(progress);
                (generation, preview) = (_state.SimulatedTask, _state.Preview());
            }
        }

        var image = !skipImage && generation is not null && preview is { } one
            ? Convert.ToBase64String(generation.Preview(one.Step))
            : null;
        return new { progress = Math.Min(progress, 1), eta_relative = eta ?? 0, state, current_image = image, textinfo = (string?)null };
    }

    /// <summary><c>GET /sdapi/v1/sd-models</c>: a title has its hash once the model has been used.</summary>
    internal object Models()
    {
        lock (_gate)
        {
            return SimulatorCatalogue.Models.Take(Profile.ModelCount).Select(model =>
            {
                var hashed = _hashed.Contains(model);
                return new
                {
                    title = hashed ? model.TitleWithHash : model.Filename,
                    model_name = model.ModelName,
                    hash = _profile.HasOneModel ? SimulatorProfile.HashOfSdCpp : hashed ? model.Hash : null,
                    sha256 = hashed ? model.Sha256 : null,
                    filename = $"/models/Stable-diffusion/{model.Filename}",
                    config = (string?)null,
                };
            }).ToArray();
        }
    }

    /// <summary><c>GET /sdapi/v1/options</c>: those of the kind, and the model that is set.</summary>
    internal object Options()
    {
        lock (_gate)
        {
            return new Dictionary<string, object?>(SimulatorCatalogue.OptionsOf(_profile))
            {
                ["sd_model_checkpoint"] = _hashed.Contains(_option) ? _option.TitleWithHash : _option.Filename,
            };
        }
    }

    // 0.01 for the load, then job_no/job_count + step/steps of one job; the caller adds the 0.01 where Forge does.
    private double Fraction()
    {
        var jobs = (double)_state.JobCount;
        var sampled = _state.SamplingSteps > 0 ? _state.SamplingStep / jobs / _state.SamplingSteps : 0;
        return Math.Min(1, (_state.JobNo / jobs) + sampled);
    }

    private double? Eta(double progress)
    {
        if (progress <= 0)
            return null;
        var elapsed = _time.GetElapsedTime(_state.StartedAt).TotalSeconds;
        return (elapsed / progress) - elapsed;
    }

    /// <summary>Forge's <c>ProgressResponse</c> (progress.py).</summary>
    private sealed record InternalProgress(
        bool Active, bool Queued, bool Completed, double? Progress, double? Eta, string? LivePreview, long IdLivePreview, string? Textinfo);
}
