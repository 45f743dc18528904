using Hangfire.Common;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Recovery;

/// <summary>Expires finished jobs of a recurring kind after ten minutes: one a minute would bury the images in the dashboard.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class KeepBrieflyAttribute : JobFilterAttribute, IApplyStateFilter
{
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction) =>
        context.JobExpirationTimeout = TimeSpan.FromMinutes(10);

    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction) { } // There is nothing to undo.
}
