using ImageQueue.Core.Forge;

namespace ImageQueue.Web.Startup;

/// <summary>Decides which backends this process uses: the configured ones, or the built-in simulator.</summary>
internal sealed class BackendPlan
{
    /// <exception cref="OptionsValidationException">There is no backend.</exception>
    public BackendPlan(IOptions<ForgeOptions> options, IHostEnvironment environment)
    {
        var configured = options.Value.Backends.Count;
        UsesSimulator = options.Value.Simulator.Enabled ?? (environment.IsDevelopment() && configured == 0);
        Count = configured + (UsesSimulator ? 1 : 0);
        if (Count == 0)
        {
            throw new OptionsValidationException(
                ForgeOptions.Section,
                typeof(ForgeOptions),
                [
                    "Forge:Backends names no backend. Set Forge__Backends__0__Url to a Forge such as http://gpu1:7860, "
                        + "or Forge__Simulator__Enabled to true."]);
        }
    }

    /// <summary>Whether <c>/simulator</c> is served and used.</summary>
    public bool UsesSimulator { get; }

    /// <summary>How many images can be generated at once.</summary>
    public int Count { get; }
}
