using ImageQueue.Core.Forge;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Startup;

/// <summary>Decides, once, which Forge servers this process works with: the configured ones, or the built-in simulator.</summary>
public sealed class BackendPlan
{
    /// <summary>Reads the settings.</summary>
    /// <exception cref="OptionsValidationException">There is no server to work with.</exception>
    public BackendPlan(IOptions<ForgeOptions> options, IHostEnvironment environment)
    {
        var configured = options.Value.Backends.Count;
        UsesSimulator = options.Value.Simulator.Enabled ?? (environment.IsDevelopment() && configured == 0);
        Slots = configured + (UsesSimulator ? 1 : 0);
        if (Slots == 0)
        {
            throw new OptionsValidationException(
                ForgeOptions.Section,
                typeof(ForgeOptions),
                ["Forge:Backends names no server. Set Forge__Backends__0__Url to a Forge such as http://gpu1:7860, or Forge__Simulator__Enabled to true."]);
        }
    }

    /// <summary>Whether <c>/simulator</c> is served and used.</summary>
    public bool UsesSimulator { get; }

    /// <summary>How many images can be generated at once.</summary>
    public int Slots { get; }
}
