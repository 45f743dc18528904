using System.Globalization;

namespace ImageQueue.Web.Api;

/// <summary>What an answer says beside its body.</summary>
internal static class AnswerHeaders
{
    /// <summary>Whether it is a replay, and which preference was followed.</summary>
    public static void Tell(this HttpResponse response, bool isReplay, TimeSpan waited)
    {
        if (isReplay)
            response.Headers[IdempotencyKeyAttribute.ReplayedHeaderName] = "true";
        if (waited > TimeSpan.Zero)
            response.Headers["Preference-Applied"] = string.Create(CultureInfo.InvariantCulture, $"wait={waited.TotalSeconds:0}");
    }
}
