using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Messages;

/// <summary>Settings under <c>Messages</c>.</summary>
public sealed class MessagesOptions
{
    public const string Section = "Messages";

    /// <summary>Language of what ImageQueue writes into the chat: <c>tr</c> (default) or <c>en</c>.</summary>
    [AllowedValues("tr", "en", ErrorMessage = "Messages:Culture must be tr or en.")]
    public string Culture { get; set; } = "tr";

    /// <summary>How the line of a finished request names its user: <c>Hash</c> (default) or <c>Name</c>.</summary>
    [EnumDataType(typeof(UsersInLogs), ErrorMessage = "Messages:UsersInLogs must be Hash or Name.")]
    public UsersInLogs UsersInLogs { get; set; }

    /// <summary>How long an erased message's tombstone is kept, which tells watchers. Default: for ever.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "36500.00:00:00", ErrorMessage = "Messages:KeepTombstonesFor must be 00:01:00 or more.")]
    public TimeSpan? KeepTombstonesFor { get; set; }
}
