namespace ImageQueue.Web.Api;

internal static class AnswerHeaders
{
    public static void AddHeaders(this HttpResponse response, bool isReplay, TimeSpan waited)
    {
        if (isReplay)
            response.Headers[IdempotencyKeyAttribute.ReplayedHeaderName] = "true";
        if (waited > TimeSpan.Zero)
            response.Headers["Preference-Applied"] = string.Create(CultureInfo.InvariantCulture, $"wait={waited.TotalSeconds:0}");
    }
}
