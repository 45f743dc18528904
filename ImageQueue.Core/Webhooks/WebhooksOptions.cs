using Microsoft.Extensions.Configuration;

namespace ImageQueue.Core.Webhooks;

/// <summary>Settings under <c>Webhooks</c>: the receivers of events.</summary>
public sealed class WebhooksOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Webhooks";

    /// <summary>The receivers: <c>Webhooks:0</c>, <c>Webhooks:1</c> and so on. None by default.</summary>
    public IList<WebhookOptions> Receivers { get; } = [];

    /// <summary>
    /// Whether receivers may be at private addresses. Default false, so that a receiver cannot reach what only this machine reaches.
    /// </summary>
    public bool AllowPrivate { get; set; }

    /// <summary>Longest time for one receiver's answer. Default 15 s.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>Unknown keys.</summary>
    internal IReadOnlyList<string> Unknown { get; private set; } = [];

    /// <summary>Reads the section, in which receivers are beside the settings for all of them.</summary>
    public void ReadFrom(IConfiguration section)
    {
        ArgumentNullException.ThrowIfNull(section);
        AllowPrivate = section.GetValue(nameof(AllowPrivate), AllowPrivate);
        Timeout = section.GetValue(nameof(Timeout), Timeout);
        string[] known = [nameof(AllowPrivate), nameof(Timeout), .. ReceiversIn(section).Select(entry => entry.Key)];
        Unknown = [.. section.GetChildren().Select(child => child.Key).Except(known, StringComparer.OrdinalIgnoreCase)];
        foreach (var entry in ReceiversIn(section))
        {
            var receiver = new WebhookOptions();
            entry.Bind(receiver, binder => binder.ErrorOnUnknownConfiguration = true);
            Receivers.Add(receiver);
        }
    }

    /// <summary>Whether a receiver is configured.</summary>
    public static bool AreWanted(IConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return ReceiversIn(configuration.GetSection(Section)).Any();
    }

    private static IEnumerable<IConfigurationSection> ReceiversIn(IConfiguration section) =>
        section.GetChildren().Where(child => int.TryParse(child.Key, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .OrderBy(child => int.Parse(child.Key, CultureInfo.InvariantCulture));
}

/// <summary>A receiver.</summary>
public sealed class WebhookOptions
{
    /// <summary>The receiver's address.</summary>
    public Uri? Url { get; set; }

    /// <summary>
    /// <c>whsec_</c> and base64, or plain text, of 16 bytes at least. Several, separated by blanks, while they rotate: each signs.
    /// </summary>
    public string Secret { get; set; } = "";

    /// <summary>Which of <see cref="WebhookEvents.All"/>; <see cref="WebhookEvents.Default"/> where it names none.</summary>
    public IList<string> Events { get; } = [];
}
